use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use async_trait::async_trait;
use rayon::prelude::*;

use crate::data::flow::{Beside, Flow, Item, Stream, batches};
use crate::data::operator::Named;
use crate::data::tally::{Count, Tally};
use crate::data::{Blocks, Counter, DataError, Lines, Row, Split, Splitter};
use crate::store::{RecordOutcome, Store};

use super::super::{Context, Given, Look, RowAsked, StageError, Work, collect};
use super::expectation::Expectation;
use super::kept::{KEPT, Kept, WORTHWHILE};
use super::page::{PAGE, page};
use super::report::Whole;
use super::sliced_output;

/// A preparation to be done.
#[derive(Debug)]
pub struct Prepare {
    /// How many stages the rows come from.
    pub sources: usize,
    /// The inputs that operators read beside the rows, by what they call them.
    pub beside: BTreeMap<String, Vec<String>>,
    /// The operators in the order written, by name.
    pub operators: Named,
    pub splitter: Splitter,
    /// The fields that the report looks at.
    pub slices: Vec<String>,
    pub expectations: Vec<Expectation>,
}

#[async_trait]
impl Work for Prepare {
    async fn run(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        tokio::task::block_in_place(|| self.prepare(context))
    }

    fn inspect(&self, asked: &RowAsked<'_>, inputs: &BTreeMap<String, Given>) -> Result<Option<Vec<Look>>, StageError> {
        super::inspect::inspect(self, asked, inputs).map(Some)
    }
}

impl Prepare {
    fn prepare(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let beside = self.beside(context.workspace, context.store, context.inputs)?;
        let flow = Flow::new(context.folder, beside.clone())?;
        let kept = Kept::of(context);
        let mut source = Source::open(context, self.sources)?;
        let rejected_before = source.rejected;
        let (by_row, others) = if source.bytes < WORTHWHILE { (&[][..], &self.operators[..]) } else { self.operators.split_at(self.by_row()) };
        let mut rows: Stream<'_> = Box::new(std::iter::from_fn(|| source.next()));
        if !by_row.is_empty() {
            rows = batches(&flow, by_row, &beside, &kept, rows);
        }
        for (_, operator) in others {
            rows = operator.attach(rows, &flow)?;
        }
        let count = if self.expectations.iter().any(Expectation::needs_lengths) { Count::All } else { Count::Some };
        let mut tally = Tally::new(self.slices.clone(), Counter::Tiny, count);
        let mut parts = Split::ALL.map(|split| Lines::new(context.folder.join(split.name())));
        let mut sliced = Split::ALL.map(|split| Lines::new(context.folder.join(sliced_output(split.name()))));
        for items in self.splitter.divide(rows, &flow)? {
            let items = items?;
            let written: Vec<[Written; 3]> = items.par_chunks(256).map(|items| self.written(items)).collect();
            for written in written {
                for ((part, sliced), written) in parts.iter_mut().zip(&mut sliced).zip(written) {
                    if let (Ok(part), Ok(sliced)) = (part, sliced) {
                        part.push_written(&written.examples, written.count)?;
                        sliced.push_written(&written.slices, written.count)?;
                    }
                }
            }
            tally.add(&items);
        }
        if context.watch.stopped() {
            return Err(StageError::Stopped);
        }
        let rows_in = source.rows;
        let account = flow.into_account();
        let whole = Whole { rows_in, rejected_before, account: &account, tally: &tally };
        let mut warnings = whole.warnings();
        for expectation in &self.expectations {
            warnings.extend(expectation.check(&whole)?);
        }
        warnings.iter().for_each(|warning| context.watch.note(&format!("warning: {warning}")));
        if tally.rows() == 0 {
            return Err(DataError::NothingLeft { rows: rows_in, why: account.why_nothing_is_left() }.into());
        }
        let (metrics, report) = (whole.metrics(), whole.report(&warnings));
        let mut outputs = BTreeMap::new();
        for ((split, part), sliced) in Split::ALL.into_iter().zip(parts).zip(sliced) {
            outputs.insert(split.name().to_owned(), context.store.take_path(&part?.finish()?)?);
            if !self.slices.is_empty() {
                outputs.insert(sliced_output(split.name()), context.store.take_path(&sliced?.finish()?)?);
            }
        }
        let (rejected, dropped) = (account.rejected.finish()?, account.dropped.finish()?);
        append(&rejected, &dropped)?;
        outputs.insert("rejected".to_owned(), context.store.take_path(&rejected)?);
        let told = page(context.stage.as_str(), &report).map_err(|problem| StageError::Unreadable { what: "the report", problem })?;
        outputs.insert(PAGE.to_owned(), context.store.put_bytes(told.as_bytes())?);
        let (found, made) = kept.counts();
        if found > 0 {
            context.watch.note(&format!("of {} batches of rows {made} were new or changed", found + made));
        }
        outputs.insert(KEPT.to_owned(), kept.artifact()?);
        outputs.insert("report".to_owned(), context.store.put_bytes(format!("{report:#}\n").as_bytes())?);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
    }

    /// How many of the first operators judge each row by itself; none where to keep what they find would cost more than to find it.
    fn by_row(&self) -> usize {
        /// These take a row as it is, or change little in it.
        const CHEAP: &[&str] = &["passthrough", "fix"];
        let count = self.operators.iter().take_while(|(_, operator)| operator.is_by_row()).count();
        if self.operators[..count].iter().all(|(name, _)| CHEAP.contains(name)) { 0 } else { count }
    }

    /// The files that operators read beside the rows.
    pub fn beside(&self, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>) -> Result<Beside, StageError> {
        let mut beside = Beside::new();
        for (called, names) in &self.beside {
            let given = names.iter().filter_map(|name| inputs.get(name));
            let files = collect::contents(store, given)?.into_iter().map(|(path, content)| {
                let bytes = content.read(&path, workspace, store)?;
                Ok::<_, StageError>((path, bytes))
            });
            beside.insert(called.clone(), files.collect::<Result<_, _>>()?);
        }
        Ok(beside)
    }
}

/// Lines of one split, and how many.
#[derive(Default)]
struct Written {
    examples: Vec<u8>,
    /// The fields by which the report and evaluations look at classes.
    slices: Vec<u8>,
    count: usize,
}

impl Prepare {
    fn written(&self, items: &[Item]) -> [Written; 3] {
        let mut parts: [Written; 3] = Default::default();
        for item in items {
            let part = &mut parts[item.split.unwrap_or(Split::Train) as usize];
            if let Some(example) = &item.example {
                example.write(&mut part.examples);
            }
            part.examples.push(b'\n');
            if !self.slices.is_empty() {
                let fields: BTreeMap<&str, String> = self.slices.iter().map(|field| (field.as_str(), item.row.text(field).unwrap_or_default())).collect();
                // What is written to memory is written.
                serde_json::to_writer(&mut part.slices, &fields).unwrap_or_default();
                part.slices.push(b'\n');
            }
            part.count += 1;
        }
        parts
    }
}

fn append(file: &Path, more: &Path) -> Result<(), StageError> {
    let failed = |source| StageError::Io { doing: "write", path: file.to_owned(), source };
    let mut out = File::options().append(true).open(file).map_err(failed)?;
    let mut more = File::open(more).map_err(failed)?;
    std::io::copy(&mut more, &mut out).and_then(|_| out.flush()).map_err(failed)
}

/// The collected rows of all stages, in the order written.
struct Source<'a> {
    context: &'a Context<'a>,
    files: Vec<Blocks<File>>,
    /// The one that is read.
    at: usize,
    /// Rows so far.
    rows: usize,
    /// Rows that the stages kept aside.
    rejected: usize,
    /// How much there is to read.
    bytes: u64,
}

impl<'a> Source<'a> {
    fn open(context: &'a Context<'a>, sources: usize) -> Result<Self, StageError> {
        let mut source = Self { context, files: Vec::new(), at: 0, rows: 0, rejected: 0, bytes: 0 };
        for number in 1..=sources {
            let open = |what: &str| {
                let path = context.file(&format!("{what} {number}"))?;
                let file = File::open(&path).map_err(|source| StageError::Io { doing: "read", path, source })?;
                Ok::<_, StageError>(file)
            };
            let rows = open(collect::ROWS)?;
            source.bytes += rows.metadata().map_or(0, |file| file.len());
            source.files.push(Blocks::new(rows));
            source.rejected += BufReader::new(open(collect::REJECTED)?).split(b'\n').count();
        }
        Ok(source)
    }

    /// The next rows. There are none once somebody wants it to stop.
    fn next(&mut self) -> Option<Result<Vec<Item>, DataError>> {
        let unreadable = |error: &dyn std::fmt::Display| DataError::unreadable("the collected rows", error);
        while !self.context.watch.stopped() {
            let (from, file) = (self.at, self.files.get_mut(self.at)?);
            let lines = match file.further() {
                Ok(Some(lines)) => lines,
                Ok(None) => {
                    self.at += 1;
                    continue;
                }
                Err(error) => return Some(Err(unreadable(&error))),
            };
            self.rows += lines.len();
            self.context.watch.progress(self.rows as u64, 0, "rows", "");
            let row = |(_, line): (u64, &[u8])| Row::read(line).map(|row| Item::new(from, row)).map_err(|error| unreadable(&error));
            return Some(lines.into_par_iter().with_min_len(64).map(row).collect());
        }
        None
    }
}
