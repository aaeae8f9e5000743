use std::collections::BTreeSet;

use petgraph::Direction;
use petgraph::algo::toposort;
use petgraph::graph::{DiGraph, NodeIndex};

/// The name of a node in a [`Dag`].
pub type NodeId = NodeIndex<u32>;

/// Nodes and what each needs.
#[derive(Clone, Debug)]
pub struct Dag<N> {
    graph: DiGraph<N, ()>,
}

impl<N> Dag<N> {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self { graph: DiGraph::new() }
    }

    /// Adds a node.
    pub fn add(&mut self, node: N) -> NodeId {
        self.graph.add_node(node)
    }

    /// Says that `node` needs `needed`.
    pub fn link(&mut self, needed: NodeId, node: NodeId) {
        self.graph.update_edge(needed, node, ());
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &N {
        &self.graph[id]
    }

    /// All nodes, those that are needed before those that need them; otherwise as they were added. `None`
    /// where nodes need each other.
    #[must_use]
    pub fn order(&self) -> Option<Vec<NodeId>> {
        toposort(&self.graph, None).ok()
    }

    /// All nodes as they were added.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<N> {
        self.graph.node_indices()
    }

    /// What a node needs, without what that needs in turn.
    pub fn needs(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.graph.neighbors_directed(id, Direction::Incoming)
    }

    /// What needs a node.
    pub fn needed_by(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.graph.neighbors_directed(id, Direction::Outgoing)
    }

    /// These nodes and all that they need, however far; what a node needs that has `enough` is not gone after.
    #[must_use]
    pub fn with_needs(&self, wanted: impl IntoIterator<Item = NodeId>, enough: impl Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
        let mut all = BTreeSet::new();
        let mut open: Vec<NodeId> = wanted.into_iter().collect();
        while let Some(id) = open.pop() {
            if all.insert(id) && !enough(id) {
                open.extend(self.needs(id));
            }
        }
        all
    }
}

impl<N> Default for Dag<N> {
    fn default() -> Self {
        Self::new()
    }
}
