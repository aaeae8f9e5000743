use super::with;
use crate::common::colours;

fn pipeline(of_file: &str, of_train: &str, of_judge: &str) -> String {
    format!(
        "pipeline \"p\"\n{of_file}\ncollect \"rows\" {{\n    source \"rows.csv\"\n}}\nprepare \"chat\" {{\n    from \"rows\"\n    chat {{\n        user \"{{{{ text }}}}\"\n        assistant \"{{{{ answer }}}}\"\n    }}\n    split train=0.8 validation=0.0 test=0.2 key=\"text\" seed=1\n}}\ntrain \"model\" {{\n    data \"chat\"\n    model \"builtin:tiny\"\n    method \"supervised\" {{\n        epochs 1\n        batch-size 8\n    }}\n    {of_train}\n}}\nevaluate \"quality\" {{\n    model \"model\"\n    data \"chat\"\n    grader \"exact-match\"\n    {of_judge}\n}}\n"
    )
}

#[test]
fn tokens_are_bounded_for_the_file_and_for_a_stage() {
    let workspace = with(&[("rows.csv", &colours(40))]);
    let refused = |text: &str, whose: &str| {
        workspace.write("p.kdl", text);
        let done = workspace.retune(&["run", "p.kdl"]);
        assert!(done.code == 5 && done.said().contains("provider::over_budget") && done.said().contains(whose), "{}", done.stderr);
    };
    refused(&pipeline("budget tokens=100", "", ""), "of the budget of the run of 100 tokens");
    refused(&pipeline("", "budget tokens=100", ""), "of the budget of `model` of 100 tokens");
    refused(&pipeline("budget tokens=900", "", "budget tokens=10"), "of the budget of `quality` of 10 tokens");
    refused(&pipeline("budget tokens=50", "", ""), "of the run of 50 tokens there is 50 tokens left");
    let planned = workspace.retune(&["plan", "p.kdl"]);
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    workspace.write("p.kdl", pipeline("budget tokens=100000 usd=0", "budget tokens=100000", "budget tokens=100000"));
    assert_eq!(workspace.ran(&[]), ["quality"], "what was done before costs nothing, and a budget changes no fingerprint");
}
