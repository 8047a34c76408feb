"""What is followed, as people write it."""

from pathlib import Path

import pytest

from common.models_file import MODEL_NAME, SourceSettings, model_name, parse_repository, repository_name


@pytest.mark.parametrize(
    "pasted",
    [
        "acme/churn",
        " acme/churn/ ",
        '"acme/churn"',
        "https://github.com/acme/churn",
        "https://github.com/acme/churn.git",
        "http://www.github.com/acme/churn/",
        "https://github.com/acme/churn/pulls?q=is%3Apr",
        "https://github.com/acme/churn/tree/main#readme",
        "github.com/acme/churn",
        "git@github.com:acme/churn.git",
        "ssh://git@github.com/acme/churn.git",
        "ssh://git@ssh.github.com:443/acme/churn.git",
        "https://user:secret@github.acme.com/acme/churn",
    ],
)
def test_a_repository_as_people_paste_it(pasted: str) -> None:
    assert parse_repository(pasted) == "acme/churn"


@pytest.mark.parametrize(
    ("pasted", "address", "name"),
    [
        ("file:///srv/churn.git", "file:///srv/churn.git", "local/churn"),
        ("/home/me/My churn/", "file:///home/me/My%20churn", "local/My-churn"),
        ("/home/me/churn/.git", "file:///home/me/churn/.git", "local/churn"),
        ("/srv/../home/churn", "file:///home/churn", "local/churn"),
        ("https://gitlab.com/team/churn.git", "https://gitlab.com/team/churn.git", "gitlab.com/team/churn"),
        ("gitlab.com/team/churn", "https://gitlab.com/team/churn", "gitlab.com/team/churn"),
        (
            "https://gitlab.com/group/team/churn/-/tree/main?ref=x",
            "https://gitlab.com/group/team/churn",
            "gitlab.com/group/team/churn",
        ),
        ("https://me:secret@acme.com/churn", "https://me:secret@acme.com/churn", "acme.com/churn"),
        ("http://gitea:3000/me/churn.git", "http://gitea:3000/me/churn.git", "gitea/me/churn"),
        ("ssh://git@git.acme.com:22/team/churn.git", "ssh://git@git.acme.com:22/team/churn.git", None),
        ("git@bitbucket.org:team/churn.git", "git@bitbucket.org:team/churn.git", "bitbucket.org/team/churn"),
        ("git@gitea:me/churn", "git@gitea:me/churn", "gitea/me/churn"),
    ],
)
def test_a_repository_elsewhere_is_followed_as_git(pasted: str, address: str, name: str | None) -> None:
    assert parse_repository(pasted) == address
    assert repository_name(address) == name or name is None


def test_addresses_of_one_name_are_two_repositories(tmp_path: Path) -> None:
    models = tmp_path / "models.toml"
    models.write_text('[a]\nrepository = "/srv/churn"\n[b]\nrepository = "/home/churn.git"\n')

    with pytest.raises(SystemExit, match=r"\[b\] has another address .* local/churn: .* rename a folder"):
        _ = SourceSettings(SLIPWAY_MODELS=models).model_entries


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("ext::sh -c id", "must be owner/name"),
        ("--upload-pack=id", "must be owner/name"),
        ("ftp://me:secret@host/churn", "is not an address that git clones from"),
        ("churn", "must be owner/name"),
        ("acme/../churn", "must be owner/name"),
        ("acme/..", "must be owner/name"),
        ("file:///", "is not an address that git clones from"),
        ("https://github.com/acme", "must be owner/name"),
        ("https://me:secret@github.com/acme", "must be owner/name"),
        ("acme/churn\n", None),
    ],
)
def test_what_names_no_repository_is_told(pasted: str, said: str | None) -> None:
    if said is None:
        assert parse_repository(pasted) == "acme/churn"
        return
    with pytest.raises(ValueError, match=said) as caught:
        parse_repository(pasted)
    assert "secret" not in str(caught.value)


def test_no_part_of_a_password_is_told() -> None:
    with pytest.raises(ValueError, match="address") as caught:
        parse_repository("https://ada:s3@cret@gitlab.com/team/churn and more")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("folder", ["übung", "模型", "_churn", "a" * 100, "50 % off", "."])
def test_every_repository_name_fits_addresses_and_commands(folder: str) -> None:
    assert MODEL_NAME.fullmatch(model_name(f"local/{folder}"))
