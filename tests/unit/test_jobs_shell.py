from __future__ import annotations

import pytest

from airflow_ml_provider.jobs.shell import commands


def words(text, **env):
    """Read the only command of a text."""
    (command,) = commands(text, env)
    assert not [word.unknown for word in command.words if word.unknown]
    return [word.text for word in command.words]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run a  b\t c", ["run", "a", "b", "c"]),
        ("run 'a b' \"c d\" e\\ f", ["run", "a b", "c d", "e f"]),
        ("run a'b'\"c\"d", ["run", "abcd"]),
        ("run \\\n  a \\\n  b # the rest", ["run", "a", "b"]),
        ("run \\\r\n  a", ["run", "a"]),
        ("run a#b", ["run", "a#b"]),
        ("run '' \"\"", ["run", "", ""]),
        ("X=1; run $X ${X}2 \"$X\" '$X' \\$X", ["run", "1", "12", "1", "$X", "$X"]),
        ("X='a b'\nrun $X \"$X\"", ["run", "a", "b", "a b"]),
        ('X=\nrun $X "$X" x$X', ["run", "", "x"]),
        ("X=a\nX+=b\nrun $X", ["run", "ab"]),
        ("export X=1 Y=2\nrun $X$Y", ["run", "12"]),
        ("run ${X:-a}${Y-b}", ["run", "ab"]),
        ("X=\nrun ${X:-a}${X-b}", ["run", "a"]),
        ("run a > log 2>&1", ["run", "a"]),
        ("run a &> log", ["run", "a"]),
        ("run 1 2>/dev/null", ["run", "1"]),
        ("run $ a$", ["run", "$", "a$"]),
        ('run "a\\"b" "\\$X" "a\\b"', ["run", 'a"b', "$X", "a\\b"]),
        ("run gs://b/*.csv ?", ["run", "gs://b/*.csv", "?"]),
    ],
)
def test_words_are_those_of_the_shell(text, expected):
    assert words(text) == expected


def test_the_environment_gives_what_the_script_does_not():
    assert words("X=1\nrun $X $Y", X="2", Y="3") == ["run", "1", "3"]


def test_several_commands_are_told_apart():
    found = commands("a && b || c; d | e & f\n(g)\n", {})
    assert [command.words[0].text for command in found] == list("abcdefg")


def test_a_date_becomes_the_runs_date():
    (command,) = commands('now=$(date -u +"%Y%m%d")\nrun x_$now `date +%s`', {})
    date, seconds = command.words[1:]
    assert date.text == "x_{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%d') }}"
    assert seconds.text.endswith(".strftime('%s') }}")
    assert "two tries of a task share" in date.notes[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("run $X", "$X: the shell variable has no value"),
        ("run $(whoami)", "$(whoami): a command"),
        ("run `whoami`", "`whoami`: a command"),
        ("run $((1 + 2))", "$((1 + 2)): a command"),
        ("run ${X%.*}", "${X%.*}: can't be worked out"),
        ("X=$(whoami)\nrun $X", "$(whoami): a command"),
        ("if a; then X=1; else X=2; fi\nrun $X", "$X: what it is depends on the script's course"),
        ("for i in 1 2; do run $i; done", "$i: the variable of a loop"),
    ],
)
def test_what_only_running_would_tell_is_unknown_with_the_reason(text, reason):
    command = next(command for command in commands(text, {}) if command.words[0].text == "run")
    assert reason in command.words[1].unknown[0]


def test_what_a_branch_sets_is_known_within_it():
    found = commands("if a; then\n  X=1\n  run $X\nelse\n  X=2\n  run $X\nfi", {})
    assert [c.words[1].text for c in found if c.words[0].text == "run"] == ["1", "2"]


def test_a_here_document_makes_a_file_for_the_commands_after_it():
    text = "B=bucket\ncat > a.yaml <<EOF\nuri: gs://$B\nEOF\ncat <<'EOF' > b.yaml\nuri: $B\nEOF\nrun\n"
    command = commands(text, {})[-1]
    assert command.words[0].text == "run"
    assert command.files["a.yaml"].text == "uri: gs://bucket\n"
    assert command.files["b.yaml"].text == "uri: $B\n"


def test_a_notebooks_line_has_python_names_in_braces():
    assert words("!run {X} {'a': 1} \"{X}/y\"", X="1") == ["run", "1", "{a:", "1}", "1/y"]
    assert words("run {X}", X="1") == ["run", "{X}"]


@pytest.mark.parametrize("text", ["run 'a", 'run "a', "run `a", "run $(a", "run ${a", "cat <<EOF\na\n"])
def test_what_has_no_end_is_refused(text):
    with pytest.raises(ValueError, match="no end"):
        commands(text, {})


def test_what_a_script_sources_is_followed_once():
    files = {"/env.sh": "X=1\n. /env.sh\n", "more.sh": "Y=2\nother\n"}
    text = ". $(cd $(dirname $0) && pwd)/env.sh\nsource more.sh\nsource none.sh\nrun $X $Y\n"
    found = commands(text, {}, files.get)
    assert [command.words[0].text for command in found] == ["other", "run"]
    assert [word.text for word in found[1].words] == ["run", "1", "2"]
