"""The command line itself: help, exit codes, the mirror that is meant, errors that name the next step.

Nothing here needs a catalogue or a network.
"""
import os
import re
import unittest

from harness import World, gapferry, tree_digest

COMMANDS = """init | identity show | site add | site list | site show | trust add | subscription show
| subscription set | sync | export | verify | import | rollup | serve | status | log | store check
| update list | update show | update approve | update decline | update unapprove | group list
| group add | group remove | group assign | computer list | computer show | computer remove
| client scan | client download | client report""".replace("\n", " ").split("|")


class Help(unittest.TestCase):
    def test_lists_every_command(self):
        text = gapferry("--help").out
        for command in COMMANDS:
            self.assertRegex(text, rf"(?m)^  {command.strip()} ")

    def test_of_each_command_opens_with_examples_and_ends_with_the_exit_status(self):
        for command in COMMANDS:
            done = gapferry(*command.split(), "--help")
            self.assertEqual(done.code, 0, done)
            parts = re.findall(r"(?m)^([A-Z][A-Z ]+)$", done.out)
            self.assertEqual(parts[0], "EXAMPLES", done)
            self.assertEqual(parts[-1], "EXIT STATUS", done)
            self.assertGreaterEqual(len(re.findall(r"(?m)^  .*gapferry ", done.out)), 3, done)

    def test_version(self):
        self.assertRegex(gapferry("--version").out, r"^gapferry \d+\.\d+\.\d+\n$")


class Usage(unittest.TestCase):
    def test_suggests_the_nearest_command(self):
        done = gapferry("update", "aprove", "x")
        self.assertEqual(done.code, 2)
        self.assertEqual(done.err, "gapferry: there is no command 'update aprove'\n"
                                   "next: gapferry update approve\n")

    def test_reports_a_failure_as_the_last_json_line(self):
        done = gapferry("frobnicate", "--json")
        self.assertEqual(done.error(), {
            "message_type": "exit_error", "code": 2, "error": "usage", "reason": "usage",
            "message": "there is no command 'frobnicate'", "next": "gapferry --help"})

    def test_names_the_help_for_a_wrong_value(self):
        with World() as world:
            mirror = world.init("m", "--gap")
            error = mirror.refuse(2, "serve", "--listen", "foo")
            self.assertEqual(error["next"], "gapferry serve --help")

    def test_names_what_to_do_when_a_server_does_not_answer(self):
        with World() as world:
            state = ("--state", world.path / "state")
            done = gapferry("client", "scan", "--server", "wsus", *state)
            self.assertEqual(done.code, 2, done)
            self.assertIn("next: gapferry client scan --server http://wsus:8530\n", done.err)
            done = gapferry("client", "scan", "--server", "http://127.0.0.1:9", *state)
            self.assertEqual(done.code, 1, done)
            self.assertIn("next: check that an update server answers: "
                          "curl 'http://127.0.0.1:9/ClientWebService/client.asmx?wsdl'\n", done.err)

    def test_refuses_unknown_options(self):
        done = gapferry("status", "--frobnicate")
        self.assertEqual(done.code, 2, done)
        self.assertIn("next: gapferry status --help", done.err)


class TheMirrorMeant(unittest.TestCase):
    def test_is_named_by_option_variable_or_current_directory(self):
        with World() as world:
            mirror = world.init("m", "--gap", "--name", "plant")
            guid = mirror.run("status")["guid"]
            self.assertRegex(guid, r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
            by_variable = gapferry("status", "--json", env={"GAPFERRY_MIRROR": str(mirror.path)})
            self.assertEqual(by_variable.result()["guid"], guid)
            by_place = gapferry("status", "--json", cwd=mirror.path)
            self.assertEqual(by_place.result()["guid"], guid)

    def test_is_asked_for_when_nothing_names_it(self):
        with World() as world:
            done = gapferry("status", cwd=world.path, env={"GAPFERRY_MIRROR": ""})
            self.assertEqual(done.code, 2, done)
            self.assertIn("--mirror DIR", done.err)

    def test_must_be_a_mirror(self):
        with World() as world:
            done = gapferry("status", "--mirror", world.path)
            self.assertEqual(done.code, 10, done)
            self.assertIn(f"next: gapferry init {world.path}", done.err)

    @unittest.skipUnless(os.geteuid() == 0, "only root can give a directory away")
    def test_must_belong_to_the_user(self):
        with World() as world:
            mirror = world.init("m", "--gap")
            os.chown(mirror.path, 65534, 65534)
            error = mirror.refuse(2, "status")
            self.assertRegex(error["message"], r"sudo -u '?nobody'? gapferry")


class Init(unittest.TestCase):
    def test_refuses_a_directory_that_is_a_mirror_and_leaves_it_alone(self):
        with World() as world:
            mirror = world.init("m", "--gap")
            before = tree_digest(mirror.path)
            done = gapferry("init", mirror.path, "--gap", "--json")
            self.assertNotEqual(done.code, 0, done)
            self.assertIn(str(mirror.path), done.error()["message"])
            self.assertEqual(tree_digest(mirror.path), before)

    def test_refuses_a_directory_with_other_files_in_it(self):
        with World() as world:
            other = world.directory("other")
            (other / "letter.txt").write_text("dear")
            done = gapferry("init", other, "--gap", "--json")
            self.assertNotEqual(done.code, 0, done)
            self.assertEqual([p.name for p in other.iterdir()], ["letter.txt"])

    def test_writes_a_configuration_that_explains_its_keys(self):
        with World() as world:
            mirror = world.init("m", "--upstream", "http://wsus.example:8530", "--replica")
            text = (mirror.path / "gapferry.yaml").read_text()
            for key in ("http://wsus.example:8530", "listen:", "certificate:", "level:", "#"):
                self.assertIn(key, text)
            self.assertRegex(text, r"(?m)^replica: true$")

    def test_keeps_its_keys_from_other_users(self):
        with World() as world:
            mirror = world.init("m", "--gap")
            private = [p for p in (mirror.path / "keys").rglob("*") if p.is_file() and
                       b"PRIVATE" in p.read_bytes() or p.suffix in (".key", ".secret")]
            self.assertTrue(private)
            for path in private:
                self.assertEqual(path.stat().st_mode & 0o077, 0, path)


class Configuration(unittest.TestCase):
    def test_refuses_unknown_keys_with_line_and_column(self):
        with World() as world:
            mirror = world.init("m", "--gap")
            file = mirror.path / "gapferry.yaml"
            lines = file.read_text().splitlines()
            file.write_text("\n".join([*lines, "servee:", "  http: 1", ""]))
            error = mirror.refuse(2, "status")
            self.assertIn(f"gapferry.yaml:{len(lines) + 1}:1:", error["message"])
            self.assertIn("servee", error["message"])

    def test_refuses_values_of_the_wrong_kind(self):
        with World() as world:
            mirror = world.init("m", "--gap")
            mirror.configure(serve__http__listen="nowhere")
            error = mirror.refuse(2, "status")
            self.assertIn("nowhere", error["message"])
            self.assertRegex(error["message"], r"gapferry\.yaml:\d+:\d+:")


class Identity(unittest.TestCase):
    def test_is_a_card_for_people_to_carry(self):
        with World() as world:
            mirror = world.init("m", "--gap", "--name", "plant")
            done = gapferry("identity", "show", "--mirror", mirror.path)
            self.assertEqual(done.code, 0, done)
            card = done.result()
            self.assertEqual(card["name"], "plant")
            self.assertEqual(card["guid"], mirror.run("status")["guid"])
            self.assertIn("card/1", str(card))
            again = gapferry("identity", "show", "--mirror", mirror.path)
            self.assertEqual(again.out, done.out)


if __name__ == "__main__":
    unittest.main()
