"""The page of a pull request, with what it was told: `/pulls/N`."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt

from resources.demo.github.written import WrittenStates

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
article { border: 1px solid #8886; border-radius: 6px; padding: 0 1rem; margin: 1rem 0; overflow-x: auto }
table { border-collapse: collapse } th, td { border: 1px solid #8886; padding: .25rem .75rem }
code, pre { background: #8882; border-radius: 4px; padding: .1rem .3rem }
pre { padding: .75rem; overflow-x: auto }
pre code { background: none; padding: 0 }
"""


def render_page(written: WrittenStates, repository: str, pull: Mapping[str, Any]) -> str:
    """Return the page as GitHub would show it, without HTML of anybody else."""
    number, sha = pull["number"], pull["head"]["sha"]
    state = "merged" if pull["merged_at"] else pull["state"]
    parts = [f"<h1>{text(pull['title'])} <small>#{number}</small></h1><p>{text(state)}</p>"]
    parts += ["<h2>Checks</h2>", *map(render_status, written.list_statuses(sha))]
    runs = [run for run in written.check_runs if run["head_sha"] == sha]
    parts += ["<h2>Check runs</h2>", *map(render_check_run, runs)] if runs else []
    parts += ["<h2>Comments</h2>", *map(render_comment, written.list_comments(repository, number))]
    parts.append("<h2>Deployments</h2>")
    for deployment in written.list_deployments(repository, {}):
        if deployment["sha"] in (sha, pull["merge_commit_sha"]):
            statuses = written.list_deployment_statuses(deployment["id"])
            parts.append(render_deployment(deployment, statuses))
    title = f"{text(pull['title'])} · {text(repository)}"
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def render_status(status: Mapping[str, Any]) -> str:
    said = f"<b>{text(status['state'])}</b> {text(status['context'])}: {text(status['description'])}"
    return f"<p>{said} {render_link('Details', status['target_url'])}</p>"


def render_check_run(run: Mapping[str, Any]) -> str:
    output = run["output"]
    said = f"<b>{text(run['conclusion'] or run['status'])}</b> {text(run['name'])}: {text(output['title'])}"
    notes = [
        f"<li>{text(one['path'])}:{one['start_line']} {text(one['message'])}</li>"
        for one in run["annotations"]
    ]
    body = "".join(render_markdown(output[part]) for part in ("summary", "text") if output[part])
    link = render_link("Details", run.get("details_url"))
    return f"<article><p>{said} {link}</p>{body}<ul>{''.join(notes)}</ul></article>"


def render_comment(comment: Mapping[str, Any]) -> str:
    body = render_markdown(comment["body"])
    return f"<article><p><b>{text(comment['user']['login'])}</b></p>{body}</article>"


def render_markdown(source: str) -> str:
    shown = re.sub("<!--.*?-->", "", source, flags=re.DOTALL)  # GitHub hides these
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(shown))


def render_deployment(deployment: Mapping[str, Any], statuses: Sequence[Mapping[str, Any]]) -> str:
    newest = statuses[0] if statuses else {"state": "queued"}
    links = [render_link(name, newest.get(f"{name}_url")) for name in ("environment", "log")]
    said = f"<b>{text(newest['state'])}</b> {text(newest.get('description'))}"
    return f"<p>{text(deployment['environment'])}: {said} {' '.join(links)}</p>"


def render_link(name: str, url: str | None) -> str:
    return f'<a href="{text(url)}">{name}</a>' if url else ""


def text(value: Any) -> str:
    return html.escape(str(value or ""))
