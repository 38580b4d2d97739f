"""The documents name things that exist: links, tests, folders, commands and their options."""
import re
import shlex
import unittest

from harness import ROOT, gapferry

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Documents(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
                if not target.startswith("http"):
                    self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")

    def test_behaviours_are_shown_by_tests_that_exist(self):
        text = (ROOT / "docs/behaviours.md").read_text()
        functional = set(re.findall(r"functional/(\w+)", text)) - {"x"}
        self.assertGreater(len(functional), 5)
        for name in functional:
            self.assertTrue((ROOT / f"tests/functional/{name}.py").exists(), name)
        sources = "\n".join(p.read_text() for p in (ROOT / "tests/unit").rglob("*.cc"))
        for suite, test in re.findall(r"`([A-Z]\w+)\.([A-Z]\w+)`", text):
            self.assertTrue(re.search(rf"TEST(_F|_P)?\({suite}, {test}\)", sources), f"{suite}.{test}")

    def test_commands_and_options_exist(self):
        helps = {}
        checked = 0
        for page in PAGES:
            blocks = re.findall(r"(?ms)^```\n(.*?)^```", page.read_text())
            for line in "\n".join(blocks).splitlines():
                found = re.match(r"(?:\$ )?(?:sudo -u gapferry )?gapferry ([a-z].*)$", line.strip())
                if not found:
                    continue
                words = shlex.split(found.group(1).split("#")[0].replace("...", ""))
                path = [w for w in words if re.fullmatch(r"[a-z]+", w)][:3]
                for length in (3, 2, 1):
                    key = tuple(path[:length])
                    if key not in helps:
                        helps[key] = gapferry(*key, "--help")
                    if helps[key].code == 0 and "USAGE" in helps[key].out:
                        break
                self.assertIn("USAGE", helps[key].out, f"{page.name}: {line}")
                for word in words:
                    if word.startswith("--"):
                        self.assertIn(word.split("=")[0], helps[key].out, f"{page.name}: {line}")
                checked += 1
        self.assertGreater(checked, 20)


if __name__ == "__main__":
    unittest.main()
