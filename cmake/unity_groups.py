#!/usr/bin/python3
"""unity_groups.py SIZE FILE...: prints a line "GROUP FILE" for each source, for the property UNITY_GROUP.

Sources of one group are compiled as one. What is a source's own (anonymous namespaces, statics, macros,
suites of tests) is seen by the sources after it there, so two stand in one group only if no word of one is
such a name of the other: then each means in a group what it means alone. Names are found by their place at
the beginning of a line, as clang-format writes them. A group has at most SIZE sources."""
import functools
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

WORD = re.compile(r"[A-Za-z_]\w*")
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^#include[^\n]*', re.S | re.M)
KEYWORDS = set("""alignas auto bool break case char class concept const constexpr consteval constinit
double else enum explicit extern false float for friend if inline int long namespace noexcept nullptr
operator private protected public requires return short signed sizeof static static_assert struct template
this true typename union unsigned using void volatile""".split())


DECLARED = re.compile(r"^(?:enum class|enum|class|struct|union|using)\s+(?:\[\[\w+\]\]\s+)?(\w+)", re.M)


@functools.cache
def header(name):
    """The types that a header of the project declares, and the headers that it includes."""
    path = ROOT / name
    text = path.read_text(encoding="utf-8") if path.exists() else ""  # the build makes some
    return DECLARED.findall(text), headers_of(text)


def seen_by(text):
    """The types of all headers that a source of this text sees."""
    names, todo, done = set(), headers_of(text), set()
    while todo:
        name = todo.pop()
        if name not in done:
            done.add(name)
            types, more = header(name)
            names.update(types)
            todo += more
    return names


def headers_of(text):
    return re.findall(r'^#include "([^"]+)"', text, re.M)


def own_names(text):
    names = set(re.findall(r"^#define\s+(\w+)", text, re.M))
    names |= set(re.findall(r"^TEST(?:_[A-Z])?\((\w+)", text, re.M))
    anonymous = False
    for line in text.split("\n"):
        if re.match(r"namespace \{", line):
            anonymous = True
        elif line.startswith("}  // namespace") or re.match(r"namespace \w", line):
            anonymous = False if not re.match(r"}  // namespace \w", line) else anonymous
        elif line[:1].isalpha() and (anonymous or re.match(r"(?:static|using|struct|class|enum) ", line)):
            # A name that is declared stands before one of these; of `A B(C d)` this finds B.
            found = re.match(r"(?:enum class|enum|class|struct|union)\s+(?:\[\[\w+\]\]\s+)?(\w+)", line)
            if line.startswith("using ") and "=" not in line:
                continue  # the same thing in each source
            found = found or re.search(r"([A-Za-z_]\w*)\s*(?:\(|=|\{|;|\[)", line)
            if found:
                names.add(found[1])
        elif anonymous and re.match(r"  k\w+(?:,| =|$)", line):  # enumerators of an enum without a class
            names.add(WORD.search(line)[0])
    return names - KEYWORDS


def main():
    size, files = int(sys.argv[1]), sys.argv[2:]
    groups = []
    for file in files:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
        names = own_names(text)
        words = set(WORD.findall(NOISE.sub(" ", text))) | seen_by(text)
        for number, group in enumerate(groups):
            if len(group["files"]) < size and not names & group["words"] and not words & group["names"]:
                break
        else:
            number, group = len(groups), {"files": [], "names": set(), "words": set()}
            groups.append(group)
        group["files"].append(file)
        group["names"] |= names
        group["words"] |= words
        print(f"g{number} {file}")


main()
