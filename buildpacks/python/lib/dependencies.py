"""Prints the dependencies that a pyproject.toml declares, one requirement a line."""

import sys
import tomllib


def main(path):
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        sys.exit(f" !     {path}: {error}")
    project = document.get("project")
    if project is None:
        sys.exit(
            f" !     {path} has no [project] table, so that its dependencies are not known;\n"
            " !     add one with a list of dependencies, or a requirements.txt"
        )
    if "dependencies" in project.get("dynamic", []):
        sys.exit(f" !     {path} leaves its dependencies to a build tool; add a requirements.txt")
    for requirement in project.get("dependencies", []):
        print(requirement)


main(sys.argv[1])
