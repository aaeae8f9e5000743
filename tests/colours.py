"""A task that a small model learns in a minute, for the scripts that have others run what comes of it."""
COLOURS = ["red", "green", "blue", "yellow"]
THINGS = ["house", "car", "bird", "sea", "door", "coat", "lamp"]


def rows(count):
    """Texts, and the colours in them."""
    return [(f"the {THINGS[at % 7]}, which is number {at}, is {COLOURS[at * 7 % 4]}", COLOURS[at * 7 % 4]) for at in range(count)]


def pipeline(model, method, more="", source="rows.csv"):
    """The pipeline, with what stands in the method of its train stage, and in its deploy stage besides."""
    return f"""pipeline "colours"
collect "rows" {{
    source "{source}"
}}
prepare "chat" {{
    from "rows"
    chat {{
        system "Name the colour."
        user "{{{{ text }}}}"
        assistant "{{{{ answer }}}}"
    }}
    split train=0.8 validation=0.0 test=0.2 key="text"
}}
train "model" {{
    data "chat"
    provider "local"
    model "{model}"
    method "supervised" {{
{method}
    }}
}}
evaluate "quality" {{
    model "model"
    data "chat" split="test"
    grader "exact-match"
}}
deploy "production" {{
    model "model"
    requires "quality"
    alias "colours"
{more}
}}
"""
