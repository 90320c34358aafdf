"""Checks that the commands which a document shows exist: scripts of this project, and verbs of `eventstore`."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVENTSTORE = Path(sys.executable).with_name("eventstore")


def main(document: Path) -> int:
    commands = {tuple(words) for words in shown_commands(document.read_text())}
    problems = [f"{document}: `{shlex.join(words)}`: {why}" for words in sorted(commands) if (why := problem(words))]
    print(*problems or [f"{len(commands)} commands exist"], sep="\n")
    return bool(problems)


def shown_commands(text: str) -> Iterator[list[str]]:
    """The words of each command in the fenced blocks of a shell; in a console block, of the lines with a prompt."""
    for language, block in re.findall(r"^```(bash|sh|shell|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if language != "console" or line.startswith("$ "):
                for part in re.split(r"&&|\|\||[|;]", line.removeprefix("$ ")):
                    if words := shlex.split(part, comments=True):
                        yield words


def problem(words: tuple[str, ...]) -> str | None:
    """Why the command cannot be run from the project's directory; None when it can, or is no command of ours."""
    program = words[0].removeprefix("./")
    if program.startswith("scripts/"):
        path = ROOT / program
        return None if path.is_file() and path.stat().st_mode & 0o111 else "no such executable script"
    if program == "eventstore":
        verbs = [word for word in words[1:2] if not word.startswith("-")]
        done = subprocess.run([EVENTSTORE, *verbs, "--help"], capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else f"`eventstore {' '.join(verbs)} --help` fails"
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
