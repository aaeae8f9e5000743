use std::collections::BTreeMap;

use miette::LabeledSpan;
use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use crate::config::{ConfigError, Kind, Pipeline, Span, Value};

use super::Outputs;

/// The stages of a pipeline, and which needs which.
#[derive(Clone, Debug)]
pub struct StageGraph {
    graph: DiGraph<usize, Span, u32>,
}

impl StageGraph {
    /// Links stages by their references, and by files that one writes and another reads. Every cycle is an error.
    pub fn build(pipeline: &Pipeline, outputs: &Outputs, errors: &mut Vec<ConfigError>) -> Self {
        let mut graph = DiGraph::with_capacity(pipeline.stages.len(), pipeline.references.len());
        let nodes: Vec<NodeIndex> = (0..pipeline.stages.len()).map(|index| graph.add_node(index)).collect();
        for reference in &pipeline.references {
            graph.update_edge(nodes[reference.to], nodes[reference.from], reference.span);
        }
        for (from, stage) in pipeline.stages.iter().enumerate() {
            stage.block.each_slot(|slot, value| {
                let (Kind::Input, Value::Text(pattern)) = (slot.kind, &value.value) else {
                    return;
                };
                for produced in outputs.meant_by(pattern) {
                    graph.update_edge(nodes[produced.stage], nodes[from], value.span);
                }
            });
        }
        let built = Self { graph };
        errors.extend(built.cycles(pipeline));
        built
    }

    /// The stages that a stage needs directly, by their place in the pipeline.
    pub fn needs(&self, stage: usize) -> impl Iterator<Item = usize> {
        let node = NodeIndex::new(stage);
        self.graph.neighbors_directed(node, petgraph::Direction::Incoming).map(|node| self.graph[node])
    }

    fn cycles(&self, pipeline: &Pipeline) -> Vec<ConfigError> {
        let knots = tarjan_scc(&self.graph).into_iter();
        let knots = knots.filter(|knot| knot.len() > 1 || self.graph.contains_edge(knot[0], knot[0]));
        knots.map(|knot| self.cycle(&knot, pipeline)).collect()
    }

    /// One way round in a knot of stages, with each reference on it labelled.
    fn cycle(&self, knot: &[NodeIndex], pipeline: &Pipeline) -> ConfigError {
        let start = knot.iter().copied().min().unwrap_or_default();
        // Breadth first against the arrows, from a stage to what it needs, until it comes round.
        let mut came: BTreeMap<NodeIndex, (NodeIndex, Span)> = BTreeMap::new();
        let mut open = std::collections::VecDeque::from([start]);
        'search: while let Some(node) = open.pop_front() {
            for edge in self.graph.edges_directed(node, petgraph::Direction::Incoming) {
                let needed = edge.source();
                if !knot.contains(&needed) || came.contains_key(&needed) {
                    continue;
                }
                came.insert(needed, (node, *edge.weight()));
                if needed == start {
                    break 'search;
                }
                open.push_back(needed);
            }
        }
        let name = |node: NodeIndex| pipeline.stages[self.graph[node]].name.to_string();
        let (mut names, mut links) = (vec![name(start)], Vec::new());
        let mut at = start;
        while let Some((user, span)) = came.get(&at) {
            links.push(LabeledSpan::new_with_span(Some(format!("{} needs {}", name(*user), name(at))), *span));
            names.push(name(*user));
            at = *user;
            if at == start {
                break;
            }
        }
        names.reverse();
        links.reverse();
        ConfigError::Cycle { path: names.join(" -> "), links }
    }
}
