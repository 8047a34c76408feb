"""Whether a change leaves alone what a model in a folder of its repository is made of."""

from common.words import join_words
from db.states import CHANGE_TRIGGERS, Trigger
from ml.builder.context import BuildContext, JudgedChange
from ml.sources.source_tree import SourceTree


def explain_untouched(context: BuildContext, fetched: SourceTree) -> str | None:
    """Return why a release needs no build; None where it does, as of every model that is a whole repository.

    A change is compared with the one that was judged before it, not with what is live: after a rollback that
    is older, and an unrelated merge would bring back what was rolled back. A check is compared with the
    commit that it is merged onto. What a person or a retraining requests is always built.
    """
    release, last = context.release, context.last
    if not context.model.path or fetched.files is None:
        return None
    folders = join_words(context.model.folders)
    if release.trigger is Trigger.CHECK:
        change = "pull request" if release.ref is None else "merge group"
        is_same = fetched.files == fetched.base_files
        return f"not touched by this {change}: nothing changes in {folders}" if is_same else None
    is_change = release.trigger in (*CHANGE_TRIGGERS, Trigger.TAG)
    if not is_change or last is None or last.release.files != fetched.files:
        return None
    return f"nothing in {folders} has changed since release {last.release.id}, which {describe_end(last)}"


def describe_end(last: JudgedChange) -> str:
    return "is live" if last.is_live else f"was {last.release.status}"
