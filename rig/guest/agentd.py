"""Runs on every host of the rig: reads one request a line from stdin, answers one a line on stdout, in any order.

The source is sent over ssh and never installed, so that a host needs only python3. The agent ends with the ssh session.

    {"id": 1, "do": "run", "argv": [...], "timeout": 60, "input": ""}  ->  {"id": 1, "rc": 0, "out": "...", "err": "..."}
    {"id": 2, "do": "start", "argv": [...], "log": PATH, "env": {}}    ->  {"id": 2, "pid": 123}
    {"id": 3, "do": "put", "path": PATH, "content": BASE64}            ->  {"id": 3}
    {"id": 4, "do": "python", "source": "...", "args": {...}}          ->  {"id": 4, "result": ...}
    {"id": 5, "do": "ping"}                                            ->  {"id": 5}

The answer to a request that fails is {"id": N, "error": "..."}.
"""

import base64
import json
import os
import subprocess
import sys
import threading

_output = threading.Lock()


def _run(ask):
    env = {**os.environ, **ask.get("env", {})}
    done = subprocess.run(ask["argv"], input=ask.get("input", ""), timeout=ask.get("timeout", 60), env=env,
                          capture_output=True, text=True, errors="replace", check=False)  # fmt: skip
    return {"rc": done.returncode, "out": done.stdout, "err": done.stderr}


def _start(ask):
    with open(ask["log"], "ab") as log:
        child = subprocess.Popen(ask["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                 env={**os.environ, **ask.get("env", {})})  # fmt: skip
    threading.Thread(target=child.wait, daemon=True).start()  # this thread reaps the child at its end
    return {"pid": child.pid}


def _put(ask):
    with open(ask["path"], "wb") as file:
        file.write(base64.b64decode(ask["content"]))
    return {}


def _python(ask):
    """Call `main(**args)` in the agent's own process, because a new interpreter takes 0.3 s to start in emulation."""
    scope = {}
    exec(compile(ask["source"], "<rig>", "exec"), scope)  # noqa: S102 (to run what the rig sends is what it is for)
    return {"result": scope["main"](**ask.get("args", {}))}


DO = {"run": _run, "start": _start, "put": _put, "python": _python, "ping": lambda ask: {}}


def _answer(line):
    ask = json.loads(line)
    try:
        answer = DO[ask["do"]](ask)
    except subprocess.TimeoutExpired as error:
        answer = {"error": f"not finished within {error.timeout} s: {error.cmd}"}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    with _output:
        sys.stdout.write(json.dumps({"id": ask["id"], **answer}) + "\n")
        sys.stdout.flush()


for _line in sys.stdin:
    threading.Thread(target=_answer, args=(_line,), daemon=True).start()
