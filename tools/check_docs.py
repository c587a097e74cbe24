#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_docs.py [--wrap]: fails when a page is not what CONTRIBUTING.md asks for, one line per offence: file:line: why.

Lines of text are at most 120 characters wide (not tables, code and lines with an address); links within the project lead to a
file and a heading that are there; what CHANGELOG.md gives as the new text of a log line is in the code. --wrap mends the width.
"""
import os
import re
import subprocess
import sys
import textwrap

WIDTH = 120
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def tracked(*patterns):
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns], cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for path in listed.stdout.split() if os.path.exists(f"{ROOT}/{path}")]


def text_of(path):
    with open(f"{ROOT}/{path}", encoding="utf-8") as file:
        return file.read()


def prose(text):
    """(line number, line) of what is not code."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def too_wide(line):
    return len(line) > WIDTH and not line.lstrip().startswith("|") and "://" not in line


def wrap(text):
    """The text with its too wide paragraphs filled anew; a list item is a paragraph."""
    lines, out, at, fenced = text.splitlines(), [], 0, False
    begins = re.compile(r"\s*([-*+] |\d+\. |#|\||```|>|<)|\s*$")
    while at < len(lines):
        line = lines[at]
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if fenced or line.lstrip().startswith(("|", "#", "```", ">", "<")) or not line.strip():
            out.append(line)
            at += 1
            continue
        end = at + 1
        while end < len(lines) and not begins.match(lines[end]):
            end += 1
        paragraph = lines[at:end]
        if any(too_wide(one) for one in paragraph):
            first = re.match(r"\s*([-*+] |\d+\. )?", line).group(0)
            words = " ".join([line[len(first):], *(one.strip() for one in paragraph[1:])])
            later = re.match(r"\s*", paragraph[1]).group(0) if len(paragraph) > 1 else " " * len(first)
            paragraph = textwrap.wrap(words, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False)
        out.extend(paragraph)
        at = end
    return "\n".join(out) + "\n"


def anchors(text):
    """GitHub's names of the headings."""
    found = set()
    for _, line in prose(text):
        heading = re.match(r"#+ (.*)", line)
        if heading:
            words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower())
            found.add(words.strip().replace(" ", "-"))
    return found


def links(path, text):
    for number, line in prose(text):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if "://" in target or target.startswith("mailto:"):
                continue
            file, _, heading = target.partition("#")
            to = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
            if not os.path.exists(f"{ROOT}/{to}"):
                yield f"{path}:{number}: {target}: there is no {to}"
            elif heading and to.endswith(".md") and heading not in anchors(text_of(to)):
                yield f"{path}:{number}: {target}: {to} has no such heading"


def changed_log_lines():
    """What CHANGELOG.md says: "new text" (was "old text")."""
    code = "".join(text_of(path) for path in tracked("src/*.cc", "src/*.h", "app/*.cc", "guard/*.cc", "drydock/*.cc"))
    code = re.sub(r'"\s*\n\s*"', "", code).replace('\\"', '"')
    changes = text_of("CHANGELOG.md")
    for found in re.finditer(r'"([^"]+)"\s+\(was\s', changes):
        words = re.sub(r"\s+", " ", found.group(1))
        for part in words.split("..."):
            if part.strip(" ;,") not in code:
                yield f"CHANGELOG.md:{changes.count(chr(10), 0, found.start()) + 1}: no log line or message says \"{words}\""
                break


def main():
    offences = []
    for path in tracked("*.md"):
        text = text_of(path)
        if "--wrap" in sys.argv[1:] and wrap(text) != text:
            text = wrap(text)
            with open(f"{ROOT}/{path}", "w", encoding="utf-8") as file:
                file.write(text)
        offences += [f"{path}:{number}: {len(line)} characters wide, at most {WIDTH}" for number, line in prose(text) if too_wide(line)]
        offences += links(path, text)
    offences += changed_log_lines()
    for offence in offences:
        print(offence)
    print(f"docs: {len(tracked('*.md'))} pages, {len(offences)} offences")
    return 1 if offences else 0


if __name__ == "__main__":
    sys.exit(main())
