use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use async_trait::async_trait;
use rayon::prelude::*;

use crate::data::flow::{Beside, CHUNK, Flow, Item, Stream};
use crate::data::operator::Operator;
use crate::data::tally::Tally;
use crate::data::{Counter, Lines, Row, Split, Splitter};
use crate::store::{RecordOutcome, Store};

use super::super::{Context, Given, Look, StageError, Work, collect};
use super::expectation::Expectation;
use super::report::Whole;

/// A preparation to be done.
#[derive(Debug)]
pub struct Prepare {
    /// The names of the operators.
    pub names: Vec<&'static str>,
    /// How many stages the rows come from.
    pub sources: usize,
    /// The inputs that operators read beside the rows, by what they call them.
    pub beside: BTreeMap<String, Vec<String>>,
    pub operators: Vec<Box<dyn Operator>>,
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

    fn inspect(&self, workspace: &Path, store: &Store, inputs: &BTreeMap<String, Given>, row: usize) -> Result<Option<Vec<Look>>, StageError> {
        super::inspect::inspect(self, workspace, store, inputs, row).map(Some)
    }
}

impl Prepare {
    fn prepare(&self, context: &Context<'_>) -> Result<RecordOutcome, StageError> {
        let flow = Flow::new(context.folder, self.beside(context.workspace, context.store, context.inputs)?)?;
        let mut source = Source::open(context, self.sources)?;
        let rejected_before = source.rejected;
        let mut rows: Stream<'_> = Box::new(std::iter::from_fn(|| source.next()));
        for operator in &self.operators {
            rows = operator.attach(rows, &flow)?;
        }
        let mut tally = Tally::new(self.slices.clone(), Counter::Tiny);
        let mut parts = Split::ALL.map(|split| Lines::new(context.folder.join(split.name())));
        for items in self.splitter.divide(rows, &flow)? {
            let items = items?;
            let lines: Vec<String> = items.par_iter().map(|item| item.example.as_ref().map(|example| example.line()).unwrap_or_default()).collect();
            for (item, line) in items.iter().zip(&lines) {
                if let Ok(part) = &mut parts[item.split.unwrap_or(Split::Train) as usize] {
                    part.push_line(line)?;
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
        let (metrics, report) = (whole.metrics(), whole.report(&warnings));
        let mut outputs = BTreeMap::new();
        for (split, part) in Split::ALL.into_iter().zip(parts) {
            outputs.insert(split.name().to_owned(), context.store.take_path(&part?.finish()?)?);
        }
        let (rejected, dropped) = (account.rejected.finish()?, account.dropped.finish()?);
        append(&rejected, &dropped)?;
        outputs.insert("rejected".to_owned(), context.store.take_path(&rejected)?);
        outputs.insert("report".to_owned(), context.store.put_bytes(format!("{report:#}\n").as_bytes())?);
        Ok(RecordOutcome { outputs, metrics, ..RecordOutcome::default() })
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

fn append(file: &Path, more: &Path) -> Result<(), StageError> {
    let failed = |source| StageError::Io { doing: "write", path: file.to_owned(), source };
    let mut out = File::options().append(true).open(file).map_err(failed)?;
    let mut more = File::open(more).map_err(failed)?;
    std::io::copy(&mut more, &mut out).and_then(|_| out.flush()).map_err(failed)
}

/// The collected rows of all stages, in the order written.
struct Source<'a> {
    context: &'a Context<'a>,
    files: Vec<BufReader<File>>,
    /// The one that is read.
    at: usize,
    /// Rows so far.
    rows: usize,
    /// Rows that the stages kept aside.
    rejected: usize,
}

impl<'a> Source<'a> {
    fn open(context: &'a Context<'a>, sources: usize) -> Result<Self, StageError> {
        let mut source = Self { context, files: Vec::new(), at: 0, rows: 0, rejected: 0 };
        for number in 1..=sources {
            let open = |what: &str| {
                let path = context.file(&format!("{what} {number}"))?;
                let file = File::open(&path).map_err(|source| StageError::Io { doing: "read", path, source })?;
                Ok::<_, StageError>(BufReader::with_capacity(1 << 20, file))
            };
            source.files.push(open(collect::ROWS)?);
            source.rejected += open(collect::REJECTED)?.split(b'\n').count();
        }
        Ok(source)
    }

    /// The next rows. There are none once somebody wants it to stop.
    fn next(&mut self) -> Option<Result<Vec<Item>, crate::data::DataError>> {
        let mut lines = Vec::with_capacity(CHUNK);
        while lines.len() < CHUNK && !self.context.watch.stopped() {
            let Some(file) = self.files.get_mut(self.at) else {
                break;
            };
            let mut line = Vec::new();
            match file.read_until(b'\n', &mut line) {
                Ok(0) => self.at += 1,
                Ok(_) => lines.push((self.at, line)),
                Err(error) => return Some(Err(crate::data::DataError::unreadable("the collected rows", &error))),
            }
        }
        if lines.is_empty() {
            return None;
        }
        self.rows += lines.len();
        self.context.watch.progress(self.rows as u64, 0, "rows", "");
        let row = |(from, line): &(usize, Vec<u8>)| {
            let row: Row = serde_json::from_slice(line).map_err(|error| crate::data::DataError::unreadable("the collected rows", &error))?;
            Ok(Item::new(*from, row))
        };
        Some(lines.par_iter().map(row).collect())
    }
}
