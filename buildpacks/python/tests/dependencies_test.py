"""python3 dependencies_test.py: what pyproject.toml files say about dependencies."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).parent.parent / "lib" / "dependencies.py"


def run(text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "pyproject.toml")
        path.write_text(text)
        done = subprocess.run(
            [sys.executable, PROGRAM, path], capture_output=True, text=True, check=False
        )
    return done.returncode, done.stdout, done.stderr


class Dependencies(unittest.TestCase):
    def test_they_are_printed_one_a_line(self):
        text = '[project]\nname = "a"\ndependencies = ["flask>=3", "x; python_version>\'3\'"]\n'
        self.assertEqual(run(text), (0, "flask>=3\nx; python_version>'3'\n", ""))
        self.assertEqual(run('[project]\nname = "a"\n'), (0, "", ""))

    def test_what_cannot_be_read_says_why(self):
        for text, want in (
            ("[tool.black]\n", "has no [project] table"),
            ('[project]\ndynamic = ["dependencies"]\n', "leaves its dependencies to a build tool"),
            ("[project\n", "at line 1"),
        ):
            with self.subTest(text):
                code, _, said = run(text)
                self.assertEqual(code, 1)
                self.assertIn(want, said)


if __name__ == "__main__":
    unittest.main()
