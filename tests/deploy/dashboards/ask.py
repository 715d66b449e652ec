"""Asks a Prometheus that has scraped a bridge whether the dashboard and the alerts can be relied on.

    ask.py URL panels DASHBOARD          every query of the dashboard gives a series
    ask.py URL selectors FILE...         every series that a query or an alert in these files names is there
    ask.py URL rules COUNT               every alert is evaluated, and without an error
    ask.py URL alerts NAME...            these alerts are pending or firing, and no others
    ask.py URL variable DASHBOARD        the dashboard's choice of instances finds the bridge

It prints what is wrong, and exits 1 if something is.
"""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# What Grafana fills in.
FILLED_IN = {"$__rate_interval": "20s", "$instance": ".*"}
SELECTOR = re.compile(r"fanbridge_\w+(?:\{[^}]*\})?")
# What waits for a situation that takes minutes to come about is asked for as long.
PATIENCE_SECONDS = int(os.environ.get("PATIENCE_SECONDS", "100"))


def asked(url, path, **parameters):
    query = urllib.parse.urlencode(parameters)
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        # An expression that is wrong is answered 400, with what is wrong in it.
        raise SystemExit(f"{parameters}: {json.load(error).get('error')}") from error


def filled_in(expression):
    for name, value in FILLED_IN.items():
        expression = expression.replace(name, value)
    if "$" in expression:
        raise SystemExit(f"unknown variable in: {expression}")
    return expression


def queries(dashboard):
    """Title of the panel and expression, for each query."""
    with open(dashboard, encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    found = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]
    if not found:
        raise SystemExit(f"{dashboard} has no query")
    return found


def alerts(rules):
    """Name and expression of each alert; an expression stands in single quotes on one line."""
    with open(rules, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("- alert: ")]
    texts = [line[len("expr: '"):-1].replace("''", "'") for line in lines if line.startswith("expr: '")]
    if not names or len(names) != len(texts):
        raise SystemExit(f"{rules}: {len(names)} alerts and {len(texts)} expressions")
    return list(zip(names, texts))


def panels(url, dashboard):
    for title, expression in queries(dashboard):
        if not asked(url, "query", query=filled_in(expression))["result"]:
            yield f"{title}: nothing comes of {expression}"


def expressions(path):
    """Those of a dashboard, which is JSON, or of rules."""
    with open(path, encoding="utf-8") as file:
        is_dashboard = file.read(1) == "{"
    return queries(path) if is_dashboard else alerts(path)


def selectors(url, *files):
    for title, expression in [one for path in files for one in expressions(path)]:
        for selector in set(SELECTOR.findall(filled_in(expression))):
            if not asked(url, "series", **{"match[]": selector}):
                yield f"{title}: there is no series {selector}"


def listed_rules(url):
    return [rule for group in asked(url, "rules")["groups"] for rule in group["rules"]]


def rules_are_well(url, count):
    listed = listed_rules(url)
    if len(listed) != int(count):
        yield f"{len(listed)} rules are loaded, and not {count}"
    for rule in listed:
        if rule["health"] != "ok":
            yield f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}"


def alerts_of_now(url, *expected):
    def active():
        return {rule["name"] for rule in listed_rules(url) if rule["state"] != "inactive"}

    deadline = time.monotonic() + PATIENCE_SECONDS
    while not set(expected) <= active() and time.monotonic() < deadline:
        time.sleep(1)
    found = active()
    yield from (f"{name} stays inactive" for name in expected if name not in found)
    yield from (f"{name} is not of this situation" for name in found if name not in expected)


def variable(url, dashboard):
    with open(dashboard, encoding="utf-8") as file:
        listed = json.load(file)["templating"]["list"]
    query = next(one["query"] for one in listed if one["name"] == "instance")
    selector, label = re.fullmatch(r"label_values\((\S+), (\w+)\)", query).groups()
    if len(asked(url, f"label/{label}/values", **{"match[]": selector})) != 1:
        yield f"{query} does not find the one bridge"


ASKS = {
    "panels": panels,
    "selectors": selectors,
    "rules": rules_are_well,
    "alerts": alerts_of_now,
    "variable": variable,
}


def main(url, what, *arguments):
    wrong = list(ASKS[what](url, *arguments))
    print("\n".join(wrong) or "all is there")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
