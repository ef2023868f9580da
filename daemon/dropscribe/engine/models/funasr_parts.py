"""Import only those modules of FunASR that a model needs.

`import funasr` imports all of its submodules and their dependencies (scikit-learn, SciPy, …): 2,800 modules besides
those of torch, and most of the CPU time of an engine start. Here the package object is created without running its
`__init__`, and the modules that register the classes of a model are imported one by one. For each of these names
FunASR's registry (`funasr.register.tables`) then contains the same class as after `import funasr`.

Access to any other attribute of the package, as by `from funasr import AutoModel`, runs `__init__` first, so that all
of FunASR remains available in the process.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import threading
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

from dropscribe.engine.models.model_config import COMPONENTS

_PACKAGE = "funasr"
_LOCK = threading.RLock()

#: Both register the same names, and the later one prevails: the order is that of `import funasr`.
_PARAFORMER_DECODERS: tuple[str, ...] = ("models.paraformer.decoder", "models.e_paraformer.decoder")
_DECODERS = dict.fromkeys(("ParaformerSANMDecoder", "ParaformerSANDecoder"), _PARAFORMER_DECODERS)
#: Option of a model's configuration → name in FunASR's registry → modules that register the class.
MODULES: dict[str, dict[str, tuple[str, ...]]] = {
    "model": {
        "BiCifParaformer": ("models.bicif_paraformer.model",),
        "FsmnVADStreaming": ("models.fsmn_vad_streaming.model",),
        "Paraformer": ("models.paraformer.model",),
        "SeacoParaformer": ("models.seaco_paraformer.model",),
        "SenseVoiceSmall": ("models.sense_voice.model",),
    },
    "encoder": {
        "FSMN": ("models.fsmn_vad_streaming.encoder",),
        "SANMEncoder": ("models.sanm.encoder",),
        "SenseVoiceEncoderSmall": ("models.sense_voice.model",),
    },
    "decoder": _DECODERS,
    "seaco_decoder": _DECODERS,
    "predictor": {
        "CifPredictor": ("models.paraformer.cif_predictor",),
        "CifPredictorV2": ("models.paraformer.cif_predictor",),
        "CifPredictorV3": ("models.bicif_paraformer.cif_predictor",),
    },
    "specaug": dict.fromkeys(("SpecAug", "SpecAugLFR"), ("models.specaug.specaug",)),
    "frontend": dict.fromkeys(
        ("WavFrontend", "WavFrontendOnline", "wav_frontend"), ("frontends.wav_frontend",)
    ),
    "tokenizer": {
        "CharTokenizer": ("tokenizer.char_tokenizer",),
        "SentencepiecesTokenizer": ("tokenizer.sentencepiece_tokenizer",),
    },
}


def build_model(options: Mapping[str, Any], threads: int) -> tuple[Any, dict[str, Any]]:
    """Build a model with initial weights on the CPU; returns the module and its resolved options.

    Equal to FunASR's `AutoModel.build_model`, which is called if a component is not in `MODULES`. Errors of FunASR are
    passed on unchanged.
    """
    resolved = dict(options) | {"device": "cpu", "ncpu": threads, "disable_update": True}
    if not _import_components(options):
        from funasr import AutoModel  # noqa: PLC0415 - imports all of FunASR

        built: tuple[Any, dict[str, Any]] = AutoModel.build_model(**resolved)
        return built
    tables = _part("register").tables
    _part("train_utils.set_all_random_seed").set_all_random_seed(resolved.get("seed", 0))
    _set_threads(threads)
    resolved["vocab_size"] = -1
    resolved.setdefault("tokenizer", None)
    if resolved["tokenizer"] is not None:
        tokenizer = tables.tokenizer_classes[resolved["tokenizer"]](**resolved.get("tokenizer_conf", {}))
        token_list = getattr(tokenizer, "token_list", None)
        if hasattr(tokenizer, "get_vocab"):
            token_list = tokenizer.get_vocab()
        if token_list is not None:
            resolved["vocab_size"] = len(token_list)
        elif hasattr(tokenizer, "get_vocab_size"):
            resolved["vocab_size"] = tokenizer.get_vocab_size()
        resolved |= {"tokenizer": tokenizer, "token_list": token_list}
    frontend: Any = resolved.get("frontend")
    if frontend is not None:
        frontend = tables.frontend_classes[frontend](**resolved.get("frontend_conf", {}))
    resolved["input_size"] = frontend.output_size() if hasattr(frontend, "output_size") else None
    resolved["frontend"] = frontend
    arguments: dict[str, Any] = {}
    deep_update = _part("utils.misc").deep_update
    deep_update(arguments, resolved.get("model_conf", {}))
    deep_update(arguments, resolved)
    module = tables.model_classes[resolved["model"]](**arguments)
    return module.to("cpu").eval(), resolved


def component(option: str, name: str) -> Any:
    """The class of a part of a model by its name in FunASR's registry, such as "encoder", "SANMEncoder".

    Raises KeyError for a part that is not in `MODULES`.
    """
    for module in MODULES[option][name]:
        _part(module)
    return getattr(_part("register").tables, f"{option}_classes")[name]


def hub_names() -> Mapping[str, str]:
    """FunASR's short model names → ids on ModelScope."""
    names: Mapping[str, str] = _part("download.name_maps_from_hub").name_maps_ms
    return names


def _import_components(options: Mapping[str, Any]) -> bool:
    """Import the modules that register the components of a configuration; false if one of them is not in `MODULES`."""
    named: dict[str, Any] = {**options.get("model_conf", {}), **options}
    needed: list[str] = []
    for option in sorted(COMPONENTS):
        name = named.get(option)
        if name is None:
            continue
        modules = MODULES.get(option, {}).get(name) if isinstance(name, str) else None
        if modules is None:
            return False
        needed += modules
    for module in needed:
        _part(module)
    return True


def _part(name: str) -> Any:
    """Import one module of FunASR without the others."""
    with _LOCK:
        if _PACKAGE not in sys.modules:
            sys.modules[_PACKAGE] = _package()
            # For each class that it registers FunASR parses the source file, only to note the line of the class.
            register = importlib.import_module(f"{_PACKAGE}.register")
            register.inspect = SimpleNamespace(getfile=inspect.getfile, getsourcelines=lambda _: ([], 0))  # type: ignore[attr-defined]
        return importlib.import_module(f"{_PACKAGE}.{name}")


def _package() -> ModuleType:
    """Create the package object `funasr`; its `__init__` runs at the first access to a missing attribute."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named '{_PACKAGE}'", name=_PACKAGE)
    package, loader = importlib.util.module_from_spec(spec), spec.loader

    def complete(name: str) -> Any:
        # Python and its tools look up such names in every module; they must not trigger the import.
        if name.startswith("__") and name not in ("__version__", "__all__"):
            raise AttributeError(f"module {_PACKAGE!r} has no attribute {name!r}")
        with _LOCK:
            if package.__dict__.get("__getattr__") is complete:
                # FunASR's `__init__` defines a `__getattr__` of its own and expects none before.
                del package.__dict__["__getattr__"]
                try:
                    loader.exec_module(package)
                except BaseException:
                    sys.modules.pop(_PACKAGE, None)
                    raise
        return getattr(package, name)

    package.__dict__["__getattr__"] = complete
    return package


def _set_threads(count: int) -> None:
    import torch  # noqa: PLC0415 - takes seconds, and `hub_names` does not need it

    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
