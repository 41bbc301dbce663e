"""python3 semver_test.py: ranges that package.json files in the wild have."""

import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "lib"))
import semver

VERSIONS = """0.12.7 0.12.9 18.20.1 20.0.0 20.11.1 22.3.0 22.23.3 23.0.0-rc.1 24.0.0 24.9.0
26.10.0""".split()

BEST = {
    "20.x": "20.11.1",
    "20": "20.11.1",
    "v20": "20.11.1",
    "20.*": "20.11.1",
    "^20.0.0": "20.11.1",
    "~22.3": "22.3.0",
    "~22": "22.23.3",
    "24.0.0": "24.0.0",
    "=24.0.0": "24.0.0",
    ">=20": "26.10.0",
    ">=18 <21": "20.11.1",
    ">= 20.0.0 < 24": "22.23.3",
    ">22.3.0 <=24.0.0": "24.0.0",
    ">24": "26.10.0",
    "<=22": "22.23.3",
    "18 - 22": "22.23.3",
    "18.0.0 - 22.3.0": "22.3.0",
    "22 || 24": "24.9.0",
    "^0.12.0": "0.12.9",
    "*": "26.10.0",
    "": "26.10.0",
    "x": "26.10.0",
    "99": None,
    ">26.10.0": None,
    "23.x": None,
}


class Ranges(unittest.TestCase):
    def test_the_best_version_in_a_range(self):
        for text, want in BEST.items():
            with self.subTest(text):
                self.assertEqual(semver.best(VERSIONS, text), want)

    def test_what_is_no_range_is_refused(self):
        for text in ("latest and greatest", "1.2.3.4", "node20", ">="[::-1] + "1"):
            with self.subTest(text), self.assertRaises(semver.BadRange):
                semver.best(VERSIONS, text)


if __name__ == "__main__":
    unittest.main()
