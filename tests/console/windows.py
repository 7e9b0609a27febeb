"""A console as a process, and a browser's window with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

from host_processes import PATIENCE, TOKENS

LINK = re.compile(r"http://127\.0\.0\.1:\d+/#secret=\S+")
ORIGIN = re.compile(r"http://127\.0\.0\.1:\d+")
TOKEN = TOKENS["scim-token-a"]
WIDE = {"width": 1280, "height": 860}
GO = """where => location.hash === where || new Promise((done) => {
  addEventListener("hashchange", () => setTimeout(done), { once: true });
  location.hash = where;
})"""
"""Goes to a page of the console, until its first state is drawn."""

NARROW = {"width": 360, "height": 740}


class RunningConsole:
    """``kong-scim console`` as a process.

    :ivar origin: Where it answers.
    """

    def __init__(self, scim_url: str, token: str = TOKEN, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kong_scim.cli.main", "console", "--port", "0", *options],
            env={
                **os.environ,
                "SCIM_URL": scim_url,
                "SCIM_TOKEN": token,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        first = self._next(ORIGIN)
        self._link = first
        self.origin = first.partition("/#")[0]

    def link(self) -> str:
        """Return a link that nobody has used; whoever calls this uses it."""
        link, self._link = self._link, ""
        return link or self._next(LINK)

    def _next(self, wanted: re.Pattern[str]) -> str:
        """Return the last word of the next line with an address."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if wanted.search(line):
                return line.split()[-1]
        raise RuntimeError("the console ended")

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        self._process.terminate()  # does nothing the second time
        self._process.wait(PATIENCE)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Tab:
    """A tab of the browser with the console in it.

    :ivar page: The page of Playwright.
    :ivar problems: What the browser complained of, such as a breach of the content policy.
    :ivar elsewhere: Requests to anybody but the console.
    """

    def __init__(self, browser: Any, console: RunningConsole, **options: Any) -> None:
        self._console = console
        self._context = browser.new_context(**{"viewport": WIDE, "locale": "en-GB", **options})
        self._context.set_default_timeout(8000)
        self.page = self._context.new_page()
        self.problems: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: Any) -> None:
        # What a test has the gateway answer is no problem of the page.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self._console.origin, "blob:")):
            self.elsewhere.append(request.url)

    def open(self, where: str = "overview") -> Any:
        """Show a page of the console, logged in with a link of its own at first."""
        if self.page.url == "about:blank":
            self.page.goto(self._console.link())
            self.page.get_by_role("heading", level=1).wait_for()
        self.page.evaluate(GO, f"#/{where}")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until everything on the page is loaded."""
        self.page.wait_for_function(
            "() => document.querySelector('h1')"
            " && !document.querySelector('.waiting, [aria-busy=true]')"
        )

    def close(self) -> None:
        self._context.close()


def violations(page: Any, *rules: str) -> list[str]:
    """Return what axe finds wrong with a page, with the element that is meant.

    :param rules: The names of axe's rules; without any, all are checked.
    """
    from axe_playwright_python.sync_playwright import Axe

    options = {"resultTypes": ["violations"], **({"runOnly": [*rules]} if rules else {})}
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in Axe().run(page, options=options).response["violations"]
        for node in each["nodes"]
    ]
