"""Prints what the buildpack wants to know of a package.json, as lines for a shell to eval."""

import json
import shlex
import sys


def text(value):
    return value if isinstance(value, str) else ""


def table(value):
    return value if isinstance(value, dict) else {}


def main():
    try:
        with open("package.json", encoding="utf-8-sig") as file:
            manifest = json.load(file)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f" !     package.json cannot be read: {error}")
    except json.JSONDecodeError as error:
        sys.exit(f" !     package.json line {error.lineno}, column {error.colno}: {error.msg}")
    if not isinstance(manifest, dict):
        sys.exit(" !     package.json must hold an object")
    scripts = table(manifest.get("scripts"))
    dependencies = {}
    for kind in ("dependencies", "devDependencies", "optionalDependencies"):
        dependencies.update(table(manifest.get(kind)))
    local = "workspaces" in manifest or any(
        text(version).startswith(("file:", "link:", "./", "../", "/"))
        for version in dependencies.values()
    )
    found = {
        "engine_node": text(table(manifest.get("engines")).get("node")),
        "engine_npm": text(table(manifest.get("engines")).get("npm")),
        "main": text(manifest.get("main")),
        "local": "1" if local else "",
        "has_dependencies": "1" if dependencies else "",
    }
    start = text(scripts.get("start"))
    hooks = {"prestart", "poststart"} & scripts.keys()
    # Run as it is, without npm in between, which takes long to start and passes on no signals.
    command = ["bash", "-c", "npm start" if hooks or not start else start]
    found["start_command"] = json.dumps(command, ensure_ascii=False)
    for script in ("start", "build", "heroku-postbuild", "preinstall", "install", "postinstall"):
        found["script_" + script.replace("-", "_")] = "1" if text(scripts.get(script)) else ""
    for name, value in found.items():
        print(f"{name}={shlex.quote(value)}")
    # Dependencies are installed apart from the app's own files, which its scripts would need.
    manifest.pop("scripts", None)
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(manifest, file)


main()
