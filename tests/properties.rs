//! What must hold for any input.

use proptest::prelude::*;
use retune::data::{Splitter, Tokenizer};
use retune::fingerprint::{Leaf, Preimage, Tree};
use std::collections::BTreeMap;

proptest! {
    #[test]
    fn tokens_give_the_text_back(text in ".{0,200}") {
        let mut tokens = Vec::new();
        Tokenizer::tiny().encode(&text, &mut tokens);
        prop_assert_eq!(Tokenizer::tiny().decode(&tokens), text);
    }

    #[test]
    fn a_split_knows_the_text_and_nothing_else(text in "[a-z ]{1,40}", seed in 0_i64..100) {
        let splitter = Splitter { shares: [0.8, 0.1, 0.1], seed, ..Splitter::default() };
        let place = splitter.place_key(&text);
        prop_assert_eq!(splitter.place_key(&format!("  {}  ", text.to_uppercase())), place);
    }

    #[test]
    fn two_trees_have_one_key_only_if_they_are_the_same(a in tree(), b in tree()) {
        let preimage = |settings: &Tree| Preimage { kind: "k".into(), version: 1, settings: settings.clone(), inputs: BTreeMap::new(), context: BTreeMap::new() };
        prop_assert_eq!(preimage(&a).key() == preimage(&b).key(), a == b);
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        "[ab]{0,2}".prop_map(|text| Tree::leaf(Leaf::Text(text))),
        (0_i64..3).prop_map(|number| Tree::leaf(Leaf::Integer(number))),
        any::<bool>().prop_map(|flag| Tree::leaf(Leaf::Flag(flag))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..3).prop_map(Tree::List), prop::collection::btree_map("[ab]{0,2}", inner, 0..3).prop_map(Tree::Map),]
    })
}
