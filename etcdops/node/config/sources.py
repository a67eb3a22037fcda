"""Where settings come from: flags, ETCD_* variables and a config file, in etcd's order of precedence.

With `--config-file` (or ETCD_CONFIG_FILE) the file is everything: flags and variables are read over, as etcd does.
Without it a flag wins over its default, a variable fills in what no flag set, and both for one setting is an error.
Source: etcd server/etcdmain/config.go, config.parse; pkg/flags/flag.go, SetFlagsFromEnv.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from etcdops.errors import StartRefused, UsageError
from etcdops.node import go_text
from etcdops.node.config.help_text import PrintAndExit, help_text, usage_text, version_text
from etcdops.node.config.kinds import TEXT
from etcdops.node.config.known_flags import FEATURE_GATES, IGNORED_FLAGS, KNOWN_FLAGS
from etcdops.node.config.settings import Config, Flag, flags_by_field
from etcdops.node.config.urls import host_and_port
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

_ENV_PREFIX = "ETCD_"
_SECRET_HINTS = ("PASS", "SECRET", "TOKEN", "PRIVATE", "USER", "CREDENTIAL")
_MISSPELT = 0.87
"""Likeness to a setting from which on a name is taken for it: one letter in eight."""

_SIMILAR = 0.75
"""Likeness worth a question in the warning."""

_SET_BY_PLATFORMS = re.compile(
    # container images: etcd's own, Bitnami's and others'
    r"VERSION|RELEASE|UNSUPPORTED_ARCH|CONF_FILE|CONF_DIR"
    # what Kubernetes and Docker say of a service `etcd` or `etcd-...`
    r"|(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)"
)
"""Names after ETCD_ that are in many environments and mean nothing to a member.

Sources: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables; the images' files.
"""

_OWN_FLAGS = {"config-file": TEXT, "feature-gates": TEXT}


def load_config(argv: Sequence[str], environ: Mapping[str, str]) -> Config:
    """A member's settings, checked and complete.

    Args: argv - the words after the program's name, one or two dashes each; environ - the process's variables.
    Returns: a Config for which `validate()` holds and defaults that depend on other settings are filled in.
    Raises: PrintAndExit - --help or --version was asked for; UsageError - a flag that does not exist or cannot be
        read (exit 2, as Go's flag package does); StartRefused - everything else etcd refuses (exit 1).
    Logs: etcd's warnings about the environment, and what is known but unsupported.
    """
    flags = parse_flags(argv)
    path = flags.get("config-file") or environ.get("ETCD_CONFIG_FILE", "")
    if path:
        from etcdops.node.config.file import read_config_file  # yaml costs 20 ms of start that only files need

        settings = read_config_file(path)
        _logger.info(
            "loaded server configuration, other configuration command line flags and environment variables "
            "will be ignored if provided",
            extra=fields(path=path),
        )
    else:
        settings = _settings_from(flags, environ)
    config = build_config(settings, config_file=path)
    config.validate()
    config = _completed(config)
    if config.unsupported_set:
        _logger.warning(
            "settings known from etcd have no effect on this node",
            extra=fields(flags=config.unsupported_set),
        )
    return config


def _completed(config: Config) -> Config:
    """Defaults that depend on other settings, told to the log as etcd tells them. Source: etcd etcdmain/etcd.go."""
    completed = config.with_defaults()
    for before, after in (
        (config.initial_advertise_peer_urls, completed.initial_advertise_peer_urls),
        (config.advertise_client_urls, completed.advertise_client_urls),
    ):
        if before != after:
            _logger.info("detected default host for advertise", extra=fields(host=host_and_port(after[0])[0]))
    if not config.data_dir:
        _logger.warning("'data-dir' was empty; using default", extra=fields(data_dir=completed.data_dir))
    return completed


@dataclass(slots=True)
class Settings:
    """What one source said: values by the flag's main name, the spelling each was set by, and what has no flag."""

    values: dict[str, object] = field(default_factory=dict)
    spelled: dict[str, str] = field(default_factory=dict)
    without_effect: list[str] = field(default_factory=list)

    def put(self, spelling: str, value: object) -> None:
        """Keep a value. Raises: StartRefused - two spellings of one flag. Source: etcd 3.6 embed Config.Validate."""
        name = main_name(spelling)
        before = self.spelled.get(name, spelling)
        if before != spelling:
            old, new = sorted((before, spelling), key=lambda text: not text.startswith("experimental-"))
            raise StartRefused(
                f"cannot set --{old} and --{new} at the same time, please use --{new} only",
                hint=f"drop --{old}",
            )
        self.spelled[name] = spelling
        self.values[name] = value


def _flag_table() -> dict[str, Flag]:
    table = {name: known.flag for name, known in KNOWN_FLAGS.items()}
    table |= {name: Flag(name, kind, "") for name, kind in _OWN_FLAGS.items()}
    for flag in flags_by_field().values():
        for spelling in (flag.name, *flag.aliases):
            table[spelling] = flag
    return table


FLAGS = _flag_table()
"""Every spelling etcd 3.4 to 3.7 knows -> its flag."""


def main_name(spelling: str) -> str:
    """The name a flag's value is kept by, whatever release's spelling was used."""
    flag = FLAGS.get(spelling)
    return flag.name if flag else spelling


def nearest(name: str, known: Iterable[str], *, likeness: float = 0.6) -> str:
    """The known name most like `name`, or nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=likeness)
    return found[0] if found else ""


def parse_flags(argv: Sequence[str]) -> dict[str, str]:
    """Flag spellings -> their text, the last of several wins. Values are checked; nothing else is.

    Raises: PrintAndExit, UsageError with the words of Go's flag package. Source: Go flag.FlagSet.Parse.
    """
    flags: dict[str, str] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        name, has_value, text = word.lstrip("-").partition("=")
        dashes = len(word) - len(word.lstrip("-"))
        if word == "--" and not words:
            break
        if dashes == 0 or word in ("-", "--"):
            stray = words[0] if word == "--" else word
            raise UsageError(f"'{stray}' is not a valid flag", hint=usage_text())
        if dashes > 2 or not name:
            raise UsageError(f"bad flag syntax: {word}", hint=usage_text())
        if name in ("help", "h"):
            raise PrintAndExit(help_text())
        if name == "version":
            _refuse_bad_bool(name, text if has_value else "true")
            flags[name] = text if has_value else "true"
            continue
        if name in IGNORED_FLAGS:  # a switch: the word after it is not its value
            _logger.warning("flag is no longer supported - ignoring", extra=fields({"flag-name": name}))
            continue
        flag = FLAGS.get(name) or _raise_unknown_flag(name)
        if not has_value:
            if flag.kind.is_bool:
                text = "true"
            elif not words:
                raise UsageError(f"flag needs an argument: -{name}", hint=f"write --{name}=VALUE")
            else:
                text = words.pop(0)
        _refuse_bad_value(name, flag, text)
        flags[name] = text
    if "version" in flags and go_text.parse_bool(flags.pop("version")):
        raise PrintAndExit(version_text())
    return flags


def _raise_unknown_flag(name: str) -> Flag:
    close = nearest(name, [*FLAGS, "version", "help"])
    hint = f"did you mean --{close}?" if close else "--help lists all flags"
    raise UsageError(f"flag provided but not defined: -{name}", hint=hint)


def _refuse_bad_bool(name: str, text: str) -> None:
    try:
        go_text.parse_bool(text)
    except ValueError as error:
        raise UsageError(
            f"invalid boolean value {go_text.quote(text)} for -{name}: {error}", hint="write true or false"
        ) from error


def _refuse_bad_value(name: str, flag: Flag, text: str) -> None:
    if flag.kind.is_bool:
        _refuse_bad_bool(name, text)
        return
    try:
        flag.kind.parse(text)
    except ValueError as error:
        raise UsageError(
            f"invalid value {go_text.quote(text)} for flag -{name}: {error}", hint=f"--{name} takes {flag.kind.takes}"
        ) from error


def _settings_from(flags: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    settings = Settings()
    for spelling, text in flags.items():
        settings.put(spelling, FLAGS[spelling].kind.parse(text))
    environ = _without_version(environ)
    used = set()
    taken = {variable_name(spelling) for spelling in flags}
    for spelling in sorted(FLAGS):
        variable = variable_name(spelling)
        text = environ.get(variable, "")
        if text and variable not in taken:
            used.add(variable)
            _use_variable(settings, spelling, variable, text)
    _check_environment(environ, used, taken)
    return settings


def variable_name(spelling: str) -> str:
    """The variable of a flag: `heartbeat-interval` -> ETCD_HEARTBEAT_INTERVAL. Source: etcd FlagToEnv."""
    return _ENV_PREFIX + spelling.upper().replace("-", "_")


def _without_version(environ: Mapping[str, str]) -> Mapping[str, str]:
    if not environ.get("ETCD_VERSION"):
        return environ
    _logger.warning(
        "cannot set special environment variable",
        extra=fields(key="ETCD_VERSION", value=environ["ETCD_VERSION"]),
    )
    return {name: value for name, value in environ.items() if name != "ETCD_VERSION"}


def _use_variable(settings: Settings, spelling: str, variable: str, text: str) -> None:
    secret = spelling in KNOWN_FLAGS and KNOWN_FLAGS[spelling].secret
    shown = "***" if secret else text
    try:
        value: object = FLAGS[spelling].kind.parse(text)
    except ValueError as error:
        raise StartRefused(
            f"invalid value {go_text.quote(shown)} for {variable}: {error}",
            hint=f"{variable} takes {FLAGS[spelling].kind.takes}",
        ) from error
    settings.put(spelling, value)
    _logger.info(
        "recognized and used environment variable",
        extra=fields({"variable-name": variable, "variable-value": shown}),
    )


def _check_environment(environ: Mapping[str, str], used: set[str], taken: set[str]) -> None:
    """Refuse a variable that a flag shadows, and one that is misspelt; warn of the others that nobody reads.

    etcd only warns of what it does not know. A misspelt flag stops a start, and a misspelt variable does the same harm
    without a word: ETCD_DATADIR is an empty member in the wrong place. But a variable need not be meant for us: images
    set their own (ETCD_VERSION), and Kubernetes sets some for every service called etcd. So only what is nearly a
    setting's name is an error, and what images and platforms are known to set never is.
    Source: etcd pkg/flags/flag.go, verifyEnv.
    """
    known = [variable_name(spelling).removeprefix(_ENV_PREFIX) for spelling in FLAGS]
    for variable in environ:
        if variable in used or not variable.startswith(_ENV_PREFIX):
            continue
        if variable in taken:
            raise StartRefused(
                "conflicting environment variable is shadowed by corresponding command-line flag "
                "(either unset environment variable or disable flag))",
                cause=f"{variable} and --{variable.removeprefix(_ENV_PREFIX).lower().replace('_', '-')} are both set",
                hint=f"unset {variable}, or leave the flag out",
            )
        name = variable.removeprefix(_ENV_PREFIX)
        if not environ[variable] or _SET_BY_PLATFORMS.fullmatch(name):
            close = ""
        elif close := nearest(name, known, likeness=_MISSPELT):
            raise StartRefused(
                f"unrecognized environment variable: {variable}",
                cause="it is almost the name of a setting, and would have no effect",
                hint=f"did you mean {_ENV_PREFIX}{close}? Otherwise unset {variable}",
            )
        else:
            close = nearest(name, known, likeness=_SIMILAR)
        shown = "***" if any(hint in variable for hint in _SECRET_HINTS) else environ[variable]
        named: dict[str, object] = {"environment-variable": f"{variable}={shown}"}
        if close:
            named["did-you-mean"] = _ENV_PREFIX + close
        _logger.warning("unrecognized environment variable", extra=fields(named))


_DEFAULTS = Config()


def build_config(settings: Settings, *, config_file: str = "") -> Config:
    """A Config of what a source said. Raises: StartRefused - a setting that would lead to another cluster."""
    values = _with_feature_gates(settings)
    chosen: dict[str, object] = {"config_file": config_file}
    for name, flag in flags_by_field().items():
        value = values.get(flag.name)
        # an empty list of URLs or words means the default, as in etcd
        if value is not None and value != ():
            chosen[name] = value
    # the default address to advertise is a guess that only fits the default address to listen on
    if not config_file and "listen-client-urls" in values and "advertise-client-urls" not in values:
        chosen["advertise_client_urls"] = ()
    unsupported = settings.without_effect + _unsupported(values, "initial-cluster" in values)
    unsupported += [
        flag.name
        for name, flag in flags_by_field().items()
        if not flag.has_effect and name in chosen and chosen[name] != getattr(_DEFAULTS, name)
    ]
    return Config(unsupported_set=tuple(sorted(unsupported)), **chosen)  # type: ignore[arg-type]  # kinds give the types


def _unsupported(values: Mapping[str, object], has_initial_cluster: bool) -> list[str]:
    found = [name for name, known in KNOWN_FLAGS.items() if name in values and values[name] != known.default]
    ways = [name for name in ("discovery", "discovery-srv", "discovery-endpoints") if name in found]
    if len(ways) + has_initial_cluster > 1 and ways:
        raise StartRefused(
            "multiple discovery or bootstrap flags are set. "
            'Choose one of "initial-cluster", "discovery" or "discovery-srv"',
            hint="keep --initial-cluster",
        )
    for name in found:
        if KNOWN_FLAGS[name].refused:
            raise StartRefused(f"--{name} is not supported by the node", hint=KNOWN_FLAGS[name].refused)
    return found


def _with_feature_gates(settings: Settings) -> dict[str, object]:
    """The values with `--feature-gates=Name=true,...` turned into the flags that 3.5 has for them."""
    values = dict(settings.values)
    text = values.pop("feature-gates", "")
    by_field = flags_by_field()
    for item in filter(None, str(text).split(",")):
        gate, _, word = item.strip().partition("=")
        if gate not in FEATURE_GATES and gate not in ("AllAlpha", "AllBeta"):
            close = nearest(gate, FEATURE_GATES)
            raise StartRefused(
                f"unrecognized feature gate: {gate}", hint=f"did you mean {close}?" if close else "see --help"
            )
        try:
            enabled = go_text.parse_bool(word)
        except ValueError as error:
            raise StartRefused(
                f"invalid value of {gate}={word}, err: {error}", hint=f"write {gate}=true or {gate}=false"
            ) from error
        name = FEATURE_GATES.get(gate)
        if name is not None:
            values[by_field[name].name] = enabled
    return values
