"""The rules of `params/uris.py` in CEL."""

from instructlab_pipeline.kube.cel import bind, finds, first_fault, in_quotes, listed, matches, quoted, sentence
from instructlab_pipeline.params import uris

_SPACE_OR_UNPRINTABLE = r"[\p{C}\p{Zl}\p{Zp}]|[^\P{Zs} ]"
_AUTHORITY = r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*"
_CREDENTIALS = r":\S+@"
_DOTS = r"^s3://[^/]+/(.*/)?\.\.?(/|$)"
_SPACE = r"\s"
_NO_MODEL = "is neither an S3 URI, nor one of the Hugging Face Hub, of a registry or of a file"
_NO_HOST = ("h == ''", quoted("has no host"))


def control_character(value: str) -> tuple[str, str]:
    return finds(value, _SPACE_OR_UNPRINTABLE), quoted(uris.CONTROL_CHARACTER)


def model_uri_fault(value: str) -> str:
    path = f"({value}.startsWith('file:') && {finds(value, '[?#]')})"
    machine = f"({value}.startsWith('file://') && !{finds(value, '^file://(localhost)?/')})"
    return first_fault(
        control_character(value),
        (f"{value}.startsWith('s3:')", _s3_fault(value)),
        (f"{value}.startsWith('hf:')", _hub_fault(value)),
        (f"{value}.startsWith('oci://')", base_image_fault(value)),
        (matches(value, "file:(//(localhost)?)?"), quoted("has no path")),
        (path, quoted("has a '?' or a '#' in it")),
        (machine, quoted("names a machine: file:// is followed by an absolute path")),
        (finds(value, r"^(/|\./|\.\./|~)"), sentence(quoted("is a path: write file:"), value)),
        (
            f"!{value}.startsWith('file:')",
            quoted(_NO_MODEL),
        ),
    )


def git_url_fault(value: str) -> str:
    folder = matches(value, r"\.|\.\.|(/|\./|\.\./).*")
    transport = f"{value}.substring(0, {value}.indexOf('::'))"
    names_one = sentence(quoted("names the git transport "), in_quotes(transport), quoted(", which can run programs"))
    return first_fault(
        (f"{value}.startsWith('-')", quoted("starts with '-', as an option of git does")),
        (finds(value, "^[A-Za-z0-9+.-]*::"), names_one),
        control_character(value),
        (f"{value}.contains('://')", _git_scheme_fault(value)),
        (f"!{folder}", _scp_like_fault(value)),
    )


def git_revision_fault(value: str) -> str:
    return first_fault(
        (f"{value}.startsWith('-')", quoted("starts with '-', as an option of git does")),
        (f"({finds(value, uris.NOT_IN_REVISIONS)} || {value} == '@')", quoted("is not a name that git gives")),
    )


def image_fault(value: str) -> str:
    is_layout = f"({value}.startsWith('oci:') && !{value}.startsWith('oci://'))"
    layout = bind("r", f"{value}.substring(4)", _layout_fault())
    bare = f"{value}.substring({value}.startsWith('oci://') ? 6 : ({value}.startsWith('docker://') ? 9 : 0))"
    return first_fault(control_character(value), (is_layout, layout), otherwise=bind("r", bare, _reference_fault()))


def base_image_fault(value: str) -> str:
    length = len("@sha256:") + 64
    bare = f"({finds(value, uris.IMAGE_DIGEST)} ? {value}.substring(0, {value}.size() - {length}) : {value})"
    broken = f"({finds(value, uris.ANY_DIGEST)} && !{finds(value, uris.IMAGE_DIGEST)})"
    return first_fault((broken, quoted(uris.NO_DIGEST)), otherwise=bind("w", bare, image_fault("w")))


def endpoint_fault(value: str) -> str:
    builtin = quoted(uris.BUILTIN_TEACHER)
    return first_fault(
        (f"{value} == {builtin}", "''"),
        (f"{value}.startsWith('builtin:')", quoted(f"is not built in: {uris.BUILTIN_TEACHER} is")),
        otherwise=webhook_fault(value),
    )


def webhook_fault(value: str) -> str:
    unprintable, _ = control_character(value)
    is_none = f"({unprintable} || !{finds(value, '(?i)^https?:')})"
    return first_fault((is_none, quoted("is not an http or https URL")), otherwise=_remote_fault(value))


def without_secrets(value: str) -> str:
    """The text with what may be a password, a token or a signature blotted out."""
    blotted = "u.substring(0, u.indexOf(':') + 1) + '***@' + u.substring(u.lastIndexOf('@') + 1)"
    without_password = f"{finds('u', _CREDENTIALS)} ? {blotted} : u"
    query = finds("v", r"://[^\s?#]*[?#]\S")
    without_query = f"{query} ? v.find({quoted('^[^?#]*[?#]')}) + '***' : v"
    return bind("u", value, bind("v", f"({without_password})", without_query))


def _s3_fault(value: str) -> str:
    odd = f"({finds(value, _DOTS)} || {finds(value, '^s3://[^/]+/(/|.*//)')})"
    return first_fault(
        (f"!{value}.startsWith('s3://')", quoted("has no // after s3:")),
        (finds(value, "^s3://(/|$)"), quoted("has no bucket")),
        (f"!{finds(value, f'^s3://{uris.BUCKET}(/|$)')}", quoted("has a bucket's name that S3 does not allow")),
        (finds(value, "[?#]"), quoted("has a '?' or a '#' in its prefix")),
        (odd, quoted("has an empty, '.' or '..' part in its prefix")),
    )


def _hub_fault(value: str) -> str:
    return first_fault(
        (f"!{matches(value, 'hf:' + uris.HUB_MODEL)}", quoted("is not of the form hf://ORGANIZATION/NAME@REVISION"))
    )


def _git_scheme_fault(value: str) -> str:
    scheme = f"{value}.substring(0, {value}.indexOf('://'))"
    schemes = ", ".join(uris.GIT_SCHEMES)
    foreign = sentence(quoted("starts with "), scheme, quoted(f"://; git repositories are read over {schemes}"))
    is_file = f"{scheme}.lowerAscii() == 'file'"
    no_path = finds(value, "^[^:]+://[^/?#]*/*([?#]|$)")
    return first_fault(
        (f"!({scheme}.lowerAscii() in {listed(uris.GIT_SCHEMES)})", foreign),
        (f"({is_file} && !{finds(value, '^[^:]+:///[^?#]')})", quoted("has no absolute path after file://")),
        (is_file, "''"),
        (no_path, quoted("has no path to a repository")),
        (f"{scheme}.lowerAscii() == 'ssh'", _ssh_fault(value)),
        otherwise=_remote_fault(value),
    )


def _ssh_fault(value: str) -> str:
    rules = first_fault(
        (finds("n", ":.*@"), quoted("has a password in it: git finds the key by itself")),
        (f"(n.contains('@') && !{finds('n', f'^{uris.USER}@[^@]*$')})", _SSH_USER),
        otherwise=_host_fault(value),
    )
    return bind("n", _netloc(value), rules)


def _remote_fault(value: str) -> str:
    rules = first_fault(
        ("n.contains('@')", quoted("has credentials in it: URLs end up in logs, so keep them where the README says")),
        (finds(value, "[?#]."), quoted("has a '?' or a '#' in it")),
        otherwise=_host_fault(value),
    )
    return bind("n", _netloc(value), rules)


def _netloc(value: str) -> str:
    """What stands between :// and the path."""
    return f"({value}.find({quoted(_AUTHORITY)}) + '://').split('://')[1]"


def _host_fault(value: str) -> str:
    """`n` is the authority; its host is what follows the last @."""
    port = "int(h.find(':[0-9]+$').substring(1))"
    has_port = f"(!h.endsWith(']') && {finds('h', ':[0-9]+$')})"
    rules = first_fault(
        (finds(value, _SPACE), quoted("has a space in it")),
        _NO_HOST,
        (f"!{matches('h', uris.HOST + '(:[0-9]{1,5})?')}", quoted("has no valid host")),
        (f"({has_port} && !({port} in [0]) && {port} < 65536)", "''"),
        (has_port, quoted("has a port that is not between 1 and 65535")),
    )
    return bind("h", "n.substring(n.lastIndexOf('@') + 1)", rules)


def _scp_like_fault(value: str) -> str:
    before_colon = f"{value}.split(':')[0]"
    host = f"{before_colon}.substring({before_colon}.indexOf('@') + 1)"
    folder = sentence(quoted("is not a git URL; for a folder on this machine write ./"), value)
    no_slashes = sentence(quoted("has no // after "), host, quoted(":"))
    return first_fault(
        (f"({_is_scp_like(value)} && {host} in {listed(uris.GIT_SCHEMES)})", no_slashes),
        (f"({_is_scp_like(value)} && {finds(value, '^[^@/:]*@')} && !{finds(value, f'^{uris.USER}@')})", _SSH_USER),
        (f"({_is_scp_like(value)} && {finds(value, _SPACE)})", quoted("has a space in it")),
        (_is_scp_like(value), "''"),
        (f"{value}.startsWith('~')", quoted("starts with '~', which only a shell expands")),
        (matches(value, r"[\p{L}\p{N}_./-]+"), folder),
        otherwise=quoted("is not a git URL"),
    )


def _is_scp_like(value: str) -> str:
    return matches(value, f"([^@/:]*@)?{uris.HOST}:([^/:-].*|/.+)")


_SSH_USER = quoted("has a user's name that ssh does not take")


def _layout_fault() -> str:
    """`r` is what follows oci:."""
    return first_fault(
        (finds("r", "^(:|$)"), quoted("has no directory after oci:")),
        ("r.startsWith('~')", quoted("starts its directory with '~', which only a shell expands")),
        otherwise=_tag_fault("r"),
    )


def _reference_fault() -> str:
    """`r` is the reference without oci:// or docker:// in front."""
    registry, name = "r.split('/')[0]", "r.substring(r.indexOf('/') + 1)"
    is_registry = (
        f"{matches(registry, uris.HOST + '(:[0-9]{1,5})?')} && {finds(registry, '[.:]|^localhost$')} && r.contains('/')"
    )
    schemed = sentence(
        quoted("starts with "), "r.substring(0, r.indexOf('://'))", quoted("://, which no image reference does")
    )
    digest = "has an @ in it: a digest comes out of publishing, and credentials belong in the registry's auth file"
    return first_fault(
        ("r.contains('://')", schemed),
        ("r.contains('@')", quoted(digest)),
        (f"!({is_registry})", quoted("does not start with a registry such as quay.io or localhost:5000")),
        otherwise=bind("i", name, _repository_fault()),
    )


def _repository_fault() -> str:
    """`i` is the repository with its tag."""
    repository = "i.split(':')[0]"
    in_lower_case = matches(f"{repository}.lowerAscii()", uris.REPOSITORY)
    why = f"({in_lower_case} ? 'has capital letters in its repository' : 'has no valid repository')"
    return first_fault(
        (f"!{matches(repository, uris.REPOSITORY)}", why),
        (f"{repository}.size() > {uris.LONGEST_REPOSITORY}", quoted(uris.TOO_LONG_A_REPOSITORY)),
        otherwise=_tag_fault("i"),
    )


def _tag_fault(value: str) -> str:
    """What follows the first colon, if there is one."""
    tag = f"{value}.substring({value}.indexOf(':') + 1)"
    bad = f"({value}.contains(':') && !{matches(tag, uris.TAG)})"
    return first_fault(
        (bad, sentence(quoted("has the tag "), in_quotes(tag), quoted(", which registries do not take")))
    )
