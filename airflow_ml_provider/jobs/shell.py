"""Reading the commands of a shell script without running it.

As much of the shell's language as scripts that submit jobs use: variables, quotes, continued lines, here
documents. What only running would tell, such as ``$(gcloud config …)`` or what a branch of an ``if`` sets, is
unknown, with the reason; it is an error only where it matters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_]\w*")
_PARAMETER = re.compile(r"\{(\w+)(?:(:?[-=?])(.*))?\}", re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_DATE = re.compile(r"""\s*date\s+(?:-u\s+|--utc\s+)?(["']?)\+(["']?)([^"'`$]+)\1\2\s*""")
_DECLARE = ("export", "declare", "local", "readonly", "typeset")
_OPENING = ("if", "for", "while", "until", "case", "{")
_CLOSING = ("fi", "done", "esac", "}")
_BETWEEN = ("then", "else", "elif", "do", "!", "time", "exec", "sudo", "call")
# Stands for a blank within a template, which does not end a word.
_BLANK = "\ue000"
RUN_DATE = "(dag_run.logical_date or dag_run.run_after)"


@dataclass(frozen=True)
class Value:
    """A text that the script made, or the reasons why it can't be known.

    :param notes: what was put for something that only running would tell.
    """

    text: str = ""
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Value) -> Value:
        return Value(self.text + other.text, self.unknown + other.unknown, self.notes + other.notes)


@dataclass(frozen=True)
class Command:
    """One simple command.

    :param words: the command and its arguments.
    :param files: files that here documents wrote before it, by name.
    """

    words: tuple[Value, ...]
    files: Mapping[str, Value]


def as_template(text: str) -> str:
    """Return a Jinja template as the value of a variable: its blanks do not end a word."""
    return text.replace(" ", _BLANK)


def commands(
    text: str, env: Mapping[str, str], sourced: Callable[[str], str | None] = lambda name: None
) -> list[Command]:
    """Return the commands of a script, or of a line of it.

    :param env: the environment; also the values of variables that the script computes.
    :param sourced: returns the text of a file that the script reads with ``source``, None if there is none.
    :raises ValueError: a quote or a parenthesis has no end.
    """
    return _Script(text, env, sourced).read()


class _Script:
    def __init__(
        self, text: str, env: Mapping[str, str], sourced: Callable[[str], str | None] = lambda name: None
    ) -> None:
        self.text = text.replace("\r\n", "\n")
        self.env = env
        self.sourced = sourced
        self.seen: set[str] = set()
        self.at = 0
        # Variables set in each open branch or loop: known up to its end.
        self.branches: list[set[str]] = []
        self.variables: dict[str, Value] = {}
        self.files: dict[str, Value] = {}
        self.found: list[Command] = []
        self.words: list[Value] = []
        self.output = ""
        self.documents: list[tuple[str, bool]] = []
        # In a notebook, a line that begins with '!' has Python's names in braces.
        self.notebook = False

    def read(self) -> list[Command]:
        while self.at < len(self.text):
            self._step(self.text[self.at])
        self._end()
        return self.found

    def _step(self, char: str) -> None:
        rest = self.text[self.at : self.at + 3]
        if rest.startswith("\\\n"):
            self.at += 2
        elif char == "\n":
            self.at += 1
            self._end(line=True)
        elif char.isspace():
            self.at += 1
        elif char == "#":
            end = self.text.find("\n", self.at)
            self.at = end if end >= 0 else len(self.text)
        elif char == "!" and not self.words:
            self.notebook = True
            self.at += 1
        elif char in ";&|()":
            if rest.startswith("&>"):
                self._redirect()
            else:
                self.at += 1
                self._end()
        elif re.match(r"\d?[<>]", rest):
            self._redirect()
        else:
            self.words += self._word()

    def _redirect(self) -> None:
        found = re.compile(r"\d?(&>>?|<<<|<<-?|>>|>&|<&|>\||[<>])[ \t]*").match(self.text, self.at)
        assert found
        self.at = found.end()
        if found.group(1).startswith("<<") and found.group(1) != "<<<":
            mark = re.compile(r"""\\?(["']?)(\w+)\1""").match(self.text, self.at)
            if not mark:
                raise ValueError("a here document without its mark")
            self.at = mark.end()
            self.documents.append((mark.group(2), mark.group() == mark.group(2)))
            return
        target = self._word()
        if found.group(1) in (">", ">>", ">|") and target and not target[0].unknown:
            self.output = target[0].text

    def _end(self, *, line: bool = False) -> None:
        words, self.words = self.words, []
        while words and words[0].text in (*_OPENING, *_CLOSING, *_BETWEEN):
            keyword = words.pop(0).text
            if keyword in (*_CLOSING, "else", "elif") and self.branches:
                self._forget(self.branches.pop())
            if keyword in (*_OPENING, "else", "elif"):
                self.branches.append(set())
            if keyword == "for" and words:
                self.variables[words[0].text] = Value(unknown=(f"${words[0].text}: the variable of a loop",))
                words = []
        if words and words[0].text in _DECLARE:
            words = [word for word in words[1:] if _ASSIGNMENT.fullmatch(word.text)]
        while words and (found := _ASSIGNMENT.fullmatch(words[0].text)):
            self._assign(found.group(1), words.pop(0), found)
        if len(words) > 1 and words[0].text in (".", "source"):
            self._source(words[1].text)
        elif words:
            self.found.append(Command(tuple(map(_readable, words)), dict(self.files)))
        if line:
            self.notebook = False
            self._read_documents(words)
            self.output = ""

    def _source(self, name: str) -> None:
        text = None if name in self.seen else self.sourced(name)
        if text is not None:
            self.seen.add(name)
            inner = _Script(text, self.env, self.sourced)
            inner.variables, inner.files, inner.seen = self.variables, self.files, self.seen
            self.found += inner.read()

    def _read_documents(self, words: list[Value]) -> None:
        for mark, expands in self.documents:
            found = re.compile(rf"(.*?)^\t*{mark}[ \t]*$\n?", re.DOTALL | re.MULTILINE).match(
                self.text, self.at
            )
            if not found:
                raise ValueError(f"the here document has no end: {mark}")
            self.at = found.end()
            content = Value(found.group(1))
            if expands:
                inner = _Script(found.group(1), self.env)
                inner.variables = self.variables
                content = _readable(inner._quoted(None))
            if words and words[0].text == "cat" and self.output:
                self.files[self.output] = content
        self.documents = []

    def _assign(self, name: str, word: Value, found: re.Match[str]) -> None:
        value = Value(found.group(3), word.unknown, word.notes)
        if found.group(2):
            value = self._variable(name) + value
        if value.unknown and name in self.env:
            value = Value(self.env[name])
        self.variables[name] = value
        if self.branches:
            self.branches[-1].add(name)

    def _forget(self, names: set[str]) -> None:
        """Leave a branch: what it set may have been set or not."""
        for name in names:
            reason = f"${name}: what it is depends on the script's course; give it in env"
            self.variables[name] = Value(self.env[name]) if name in self.env else Value(unknown=(reason,))
        if self.branches:
            self.branches[-1] |= names

    def _variable(self, name: str) -> Value:
        if name in self.variables:
            return self.variables[name]
        if name in self.env:
            return Value(self.env[name])
        return Value(unknown=(f"${name}: the shell variable has no value here; give it in env",))

    def _word(self) -> list[Value]:
        """Read one word; variables outside quotes may make more of it, or none."""
        words: list[Value] = []
        current: Value | None = None
        while self.at < len(self.text):
            char = self.text[self.at]
            if char.isspace() or char in ";&|()<>":
                break
            if self.text.startswith("\\\n", self.at):
                self.at += 2
                continue
            if char in "$`":
                pieces = _split(self._expansion())
                if pieces[0] is not None:
                    current = pieces[0] if current is None else current + pieces[0]
                for piece in pieces[1:]:
                    if current is not None:
                        words.append(current)
                    current = piece
                continue
            part = self._part(char)
            current = part if current is None else current + part
        return words if current is None else [*words, current]

    def _part(self, char: str) -> Value:
        self.at += 1
        if char == "'":
            end = self.text.find("'", self.at)
            if end < 0:
                raise ValueError("a quote has no end: '")
            text, self.at = self.text[self.at : end], end + 1
            return Value(text)
        if char == '"':
            return self._quoted('"')
        if char == "\\":
            self.at += 1
            return Value(self.text[self.at - 1 : self.at])
        if char == "{" and self.notebook:
            found = re.compile(r"(\w+)\}").match(self.text, self.at)
            if found:
                self.at = found.end()
                return self._variable(found.group(1))
        return Value(char)

    def _quoted(self, quote: str | None) -> Value:
        """Read up to the closing quote, or to the end; only variables mean something in it."""
        value = Value()
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == quote:
                self.at += 1
                return value
            if char in "$`":
                value += self._expansion()
            elif char == "\\" and self.text[self.at + 1 : self.at + 2] in ("$", "`", '"', "\\", "\n"):
                value += Value(self.text[self.at + 1].replace("\n", ""))
                self.at += 2
            elif char == "{" and self.notebook:
                value += self._part(char)
            else:
                value += Value(char)
                self.at += 1
        if quote:
            raise ValueError(f"a quote has no end: {quote}")
        return value

    def _expansion(self) -> Value:
        if self.text[self.at] == "`":
            end = self.text.find("`", self.at + 1)
            if end < 0:
                raise ValueError("a quote has no end: `")
            inner, self.at = self.text[self.at + 1 : end], end + 1
            return self._output_of(inner, f"`{inner}`")
        self.at += 1
        if self.text.startswith("(", self.at):
            inner = self._enclosed("(", ")")
            return self._output_of(inner[1:-1], f"${inner}")
        if self.text.startswith("{", self.at):
            return self._parameter(self._enclosed("{", "}"))
        found = _NAME.match(self.text, self.at) or re.compile(r"[0-9@*#?$!]").match(self.text, self.at)
        if not found:
            return Value("$")
        self.at = found.end()
        return self._variable(found.group())

    def _enclosed(self, opening: str, closing: str) -> str:
        depth, start = 0, self.at
        for at in range(start, len(self.text)):
            depth += (self.text[at] == opening) - (self.text[at] == closing)
            if not depth:
                self.at = at + 1
                return self.text[start : at + 1]
        raise ValueError(f"{opening} has no end")

    def _parameter(self, text: str) -> Value:
        found = _PARAMETER.fullmatch(text)
        if not found:
            return Value(unknown=(f"${text}: can't be worked out here; put its result in",))
        name, operator, other = found.groups()
        value = self._variable(name)
        unset = bool(value.unknown) and name not in self.variables
        if operator and operator[-1] in "-=" and (unset or (not value.text and operator[0] == ":")):
            inner = _Script(other, self.env)
            inner.variables = self.variables
            return inner._quoted(None)
        return value

    def _output_of(self, command: str, written: str) -> Value:
        date = _DATE.fullmatch(command)
        if date:
            template = f"{{{{ {RUN_DATE}.strftime('{date.group(3).strip()}') }}}}"
            note = f"{written}: became {template}, the run's date, which two tries of a task share"
            return Value(as_template(template), notes=(note,))
        if command.strip() in self.env:
            return Value(self.env[command.strip()])
        return Value(
            unknown=(
                f"{written}: a command in the command line can't be run here; put its result in, or give the "
                "variable that holds it in env",
            )
        )


def _split(value: Value) -> list[Value | None]:
    """Return the words of a variable outside quotes; None where its text begins or ends with a blank."""
    if value.unknown:
        return [value]
    pieces = re.split(r"[ \t\n]+", value.text)
    made = [Value(piece, (), value.notes) if piece else None for piece in pieces]
    return made or [None]


def _readable(value: Value) -> Value:
    return Value(value.text.replace(_BLANK, " "), value.unknown, value.notes)
