use std::fmt::Write as _;

use super::{says, with};

#[test]
fn a_graph_is_drawn_in_each_form() {
    let text = format!("pipeline \"p\"\n{}exec \"y\" {{\n    run \"cp x.out y.out\"\n    input \"x.out\"\n    output \"y.out\"\n}}\n", says("x", "<&>"));
    let workspace = with(&[("p.kdl", &text)]);
    workspace.run(&["x"], 0);
    let drawn = |arguments: &[&str]| {
        let mut all = vec!["graph", "p.kdl"];
        all.extend(arguments);
        let done = workspace.retune(&all);
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stdout
    };
    for form in ["dot", "mermaid", "json", "svg"] {
        insta::assert_snapshot!(format!("graph-{form}"), drawn(&["--format", form, "--status"]));
    }
    assert!(!drawn(&["--format", "json"]).contains("state"), "how it stands is told where it is asked for");
    assert!(drawn(&["--format", "svg"]).contains("class=\"plain\""));
}

#[test]
fn a_picture_of_sixty_stages_is_whole() {
    let mut text = String::from("pipeline \"p\"\n");
    for number in 0..60 {
        let inputs: String =
            (0..number).filter(|other| number % 7 == (other + 3) % 11 && number - other < 20).map(|other| format!("    input \"o{other}\"\n")).collect();
        let _ = write!(text, "exec \"stage-{number}\" {{\n    run \"true\"\n{inputs}    output \"o{number}\"\n}}\n");
    }
    let workspace = with(&[("p.kdl", &text)]);
    let svg = workspace.retune(&["graph", "p.kdl", "--format", "svg"]).stdout;
    assert_eq!(svg.matches("<rect x=").count(), 60);
    assert_eq!(svg.matches("<path d=\"M").count(), text.matches("input").count());
    assert!(!svg.contains("NaN") && !svg.contains("http://www.w3.org/1999"), "it needs nothing else");
}
