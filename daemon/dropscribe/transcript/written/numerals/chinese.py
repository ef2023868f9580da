"""Chinese numbers in speech: 三千五百块 → 3500块, 百分之三十 → 30%, 二零二四年 → 2024年.

A number is written in figures when its whole run of numerals has one reading. A run that is an estimate (三四百), an
idiom (三三两两), a list (一三五) or ambiguous stays as it was said, and so does a number below ten before a counting
word (三个人, 两次). The rules follow GB/T 15835-2011 where that decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from dropscribe.transcript.written.numerals.chinese_values import figures, keeps_value
from dropscribe.transcript.written.numerals.chinese_words import (
    DIGITS,
    IDIOMATIC_RUNS,
    IDIOMS,
    MEASURES,
    MEASURES_OF_ONE,
    NUMERALS,
    TIMES_OF_DAY,
    UNITS,
)
from dropscribe.transcript.written.numerals.forms import Form

__all__ = ["NUMERAL", "NUMERALS", "forms", "keeps_value"]

_N = f"[{NUMERALS}]"

_ONE_TO_NINE = "一二两三四五六七八九"

_AFTER_TEN = "[个位名天岁人次多余来倍点号周块项件条台套张本篇页家所支场门层楼票]|年(?![寒树磨如河一])|月(?!怀)|公|分钟|小时|米(?!饭)|元(?!旦)|秒"
_NOT_A_MONTH = "(?![经光亮饼球台嫂牙饭息季供天])"
#: Numerals; a text without any has no number to write.
NUMERAL = re.compile(f"{_N}+")
_CANDIDATE = re.compile(
    rf"{_N}+(?:点{_N}+){{2,}}"
    rf"|[百千]分之{_N}+(?:点{_N}+)?"
    rf"|(?:{_N}+又)?{_N}+分之{_N}+"
    rf"|{_N}{{2,}}(?:点{_N}+|块[{_ONE_TO_NINE}](?!{_N}|[个位块张件条]))?"
    rf"|{_N}(?:点{_N}+|块[{_ONE_TO_NINE}](?!{_N}|[个位块张件条儿]))"
    rf"|[二两三四五六七八九](?=(?:{MEASURES})|号(?![称召码角外脉令])|点(?:钟|整|半|[一三]刻|多|左右|[以之]?[前后]|[到至]))"
    rf"|一(?=(?:{MEASURES_OF_ONE})|点(?:钟|整|半(?!点)|[一三]刻))"
    rf"|[一二三四五六七八九十](?=月{_NOT_A_MONTH})"
    rf"|(?<=月)[一二三四五六七八九十](?=[日号])"
    rf"|(?<=[午上晨晚夜里])[一二两三四五六七八九](?=点)"
    rf"|[一二两三四五六七八九](?=分{_N}+秒)|(?<=[分])[一二两三四五六七八九](?=秒)"
    rf"|(?<=[元块])零?[一二两三四五六七八九](?=[角毛])|[一二两三四五六七八九](?=毛钱)"
    rf"|(?<=度)[{_ONE_TO_NINE}](?!{_N}|[个分天次年月号])"
    rf"|[零{_ONE_TO_NINE}十](?=比{_N})|(?<=比)[零{_ONE_TO_NINE}十](?!{_N})"
    rf"|(?<=零下)[一二两三四五六七八九十](?=度)"
    rf"|十(?={_AFTER_TEN})"
)
#: After these characters 一点 is "a bit".
_A_BIT = frozenset("有早晚快慢多少好坏大小高低长短近远重轻差这那每哪第强弱厚薄深浅热冷贵便宜松紧亮暗点")
#: Characters before a number that opens a range: 从三到五公里.
_BEFORE_RANGE = frozenset("从是在约有为需要的了每概用由花等过\n")
#: Scores of games: 三比二. Without one of these words beside it, 比 compares other things.
_SCORE = re.compile(
    rf"(?P<cue>比分|比分[是为成]|大比分|总分|以|[打踢战]成)?(?P<one>{_N}+)比(?P<other>{_N}+)"
    "(?P<then>战[胜平]|击败|打[败平]|[获取险大完惜]胜|[落惜]败|[领落][先后]|逆转|负于|不敌|输给|赢|的比分|平局)?"
)
#: Temperatures of people: 三十七度二.
_FEVER = re.compile("[三四]十[一二三四五六七八九]?度$")
#: Behind 两点五, which may also be a time, what makes it a decimal.
_AFTER_TWO = re.compile(f"倍|(?!楼)(?:{MEASURES})")
#: Characters before a minus sign.
_BEFORE_MINUS = frozenset("是到为于零约在至有得和\n")
#: Characters that may follow 三万五; before others the last digit may belong to what follows (四百四病).
_AFTER_COLLOQUIAL = frozenset("块元多左上以到至的了吧啊呢吗嘛呀和跟是")
_COUNTED = frozenset("个天年月号位人次条件家名只张本场种岁样些遍回辆套台间部座")


def forms(text: str) -> list[Form]:
    """Numbers of a text with their form in figures, in order. A line break in `text` separates numbers."""
    found: list[Form] = []
    idioms: list[tuple[int, int]] | None = None
    percent_until = -1
    for match in _candidates(text):
        start, end = match.span()
        if idioms is None:
            idioms = [m.span() for m in IDIOMS.finditer(text)]
        if idioms and any(start < until and end > begin for begin, until in idioms):
            continue
        form = _form(text, start, end)
        if form is None:
            continue
        if form.start == percent_until + 1 and text[percent_until] in "到至" and _plain(form.text):
            if text[form.end : form.end + 1] in _COUNTED:
                form = Form(form.start, form.end, form.text)
            else:
                form = Form(form.start, form.end, form.text + "%")
        percent_until = form.end if form.text.endswith("%") else -1
        further = _end_of_percentages(text, percent_until) if percent_until > 0 else None
        if (first := _range_start(text, form)) is not None:
            found.append(first)
        found.append(form)
        if further is not None:
            found.append(further)
    return found


def _end_of_percentages(text: str, at: int) -> Form | None:
    """The single numeral behind 到 or 至 at `at`, which ends a range of percentages: 百分之三到五."""
    said, following = text[at + 1 : at + 2], text[at + 2 : at + 3]
    if text[at : at + 1] not in {"到", "至"} or not said or said not in f"{_ONE_TO_NINE}十":
        return None
    if following and (following in NUMERALS or following in _COUNTED or following in "点几分多块"):
        return None
    return Form(at + 1, at + 2, f"{_digit(said)}%")


def _candidates(text: str) -> Iterator[re.Match[str]]:
    """Matches of `_CANDIDATE`, all of which begin with a numeral; a search for these alone is much faster."""
    at = 0
    while (numeral := NUMERAL.search(text, at)) is not None:
        match = _CANDIDATE.match(text, numeral.start())
        if match is not None:
            yield match
        at = numeral.end() if match is None else match.end()


def _plain(written: str) -> bool:
    return written.replace(".", "", 1).isdecimal()


def _range_start(text: str, form: Form) -> Form | None:
    """The single numeral before 到 or 至 and a number in figures: 三到五公里."""
    at = form.start - 2
    if (
        at < 0
        or text[at + 1] not in "到至"
        or text[at] not in f"{_ONE_TO_NINE}十"
        or not form.text[0].isdecimal()
    ):
        return None
    if at and text[at - 1] not in _BEFORE_RANGE and _is_chinese(text[at - 1]):
        return None
    return Form(at, at + 1, str(_cardinal(text[at]) or 2))


def _is_chinese(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff"


def _form(text: str, start: int, end: int) -> Form | None:
    """Form of a candidate in its surroundings; None if it stays as it was said."""
    said = text[start:end]
    before, after = text[max(0, start - 3) : start], text[end : end + 6]
    last, following = before[-1:], after[:1]
    if "0" <= last <= "9" or "0" <= following <= "9":
        return None
    if said in IDIOMATIC_RUNS:
        return None
    if last == "之" and before.endswith("分之"):
        return None
    if "分之" in said:
        written = _ratio(said)
        if written is None or following == "几" or (following == "点" and "点" in said):
            return None
        return Form(start, end, written)
    if said.count("点") > 1:
        # 三点一点四 may also be a list of times.
        numbered = text[:start].endswith(("版本", "版本号", "版本是", "版本号是", "版"))
        written = _version(said) if numbered and set(said) <= {*DIGITS, "点", "十"} else None
        return None if written is None else Form(start, end, written)
    if len(said) == 2 and said[0] == "零" and said[1] not in "百千万亿" and last in {"元", "块"}:
        return Form(start + 1, end, str(_digit(said[1]))) if re.search(f"(?:{_N}{_N}|十).$", before) else None
    if "块" in said:
        whole, _, small = said.partition("块")
        number = _number(whole)
        if whole == "一" and last in "这那每第":
            return None
        return None if number is None or following == "钱" else Form(start, end, f"{number}块{_digit(small)}")
    if last == "第" and len(said) == 1:
        return None
    if "点" in said:
        written = _with_point(said, before, after)
        return None if written is None else _signed(text, start, end, written)
    if len(said) == 1:
        return _single(text, start, before, after)
    return _run(text, start, end)


def _single(text: str, at: int, before: str, after: str) -> Form | None:
    said, last = text[at], before[-1:]
    following = after[:1]
    if last == "比" or following == "比":
        return Form(at, at + 1, str(_digit(said))) if _is_score(text, at) else None
    if last == "度":
        told = _FEVER.search(text[max(0, at - 5) : at]) is not None
        ended = not following or following == "\n" or following in _AFTER_COLLOQUIAL
        return Form(at, at + 1, str(_digit(said))) if told and ended else None
    if (last and last in "几数好双合初期拜老小第半") or before.endswith(("正月", "腊月")):
        return None
    if following == "月" and last in set("个每这那上下满整半"):
        return None
    if last == "周" and following != "点":
        return None
    if following == "点" and after[:2] not in {"点钟", "点整", "点半", "点一", "点三"}:
        # 三点 is also three points, and 一点 a bit.
        told = before[-2:] in TIMES_OF_DAY
        if (
            (said in "一二两" or said == "十")
            and not told
            and last not in {"号", "日", "月"}
            and said != "十"
        ):
            return None
        if not told and after[1:2] not in set("多左以之前后到至") and said != "十":
            return None
    if following == "点" and said == "一" and last in _A_BIT and before[-2:] not in TIMES_OF_DAY:
        return None
    if following == "毛" and said == "一":
        return None
    return _signed(text, at, at + 1, str(_digit(said)))


def _is_score(text: str, at: int) -> bool:
    """Whether the numeral at `at` is a side of a score."""
    for match in _SCORE.finditer(text, max(0, at - 12), at + 12):
        if match.start("one") <= at < match.end("other"):
            long = max(len(match["one"]), len(match["other"])) > 1 and match["then"] != "平局"
            return long or match["cue"] is not None or match["then"] is not None
    return False


def _version(said: str) -> str | None:
    """`三点十点一` → `3.10.1`; None if a part is no number (一点零十点二)."""
    written = [figures(part) if set(part) <= DIGITS.keys() else _number(part) for part in said.split("点")]
    return None if None in written else ".".join(filter(None, written))


def _run(text: str, start: int, end: int) -> Form | None:
    """Form of two or more numerals."""
    said, last, after = text[start:end], text[max(0, start - 1) : start], text[end : end + 2]
    following = after[:1]
    before = text[max(0, start - 2) : start]
    if following == "几" or (last in {"几", "数", "上", "成"} and said[0] == "十"):
        return None
    if last == "初" or before in {"正月", "腊月"} or (last == "点" and before[:1] in {*NUMERALS, "几"}):
        return None
    if last == "周" or before in {"星期", "礼拜"}:
        return _after_weekday(text, start, end)
    digits = said.replace("两", "二") if len(said) == 4 and following == "年" else said
    if set(digits) <= DIGITS.keys():
        return Form(start, end, figures(digits)) if _is_digit_string(digits, following) else None
    if following == "大" and len(said) <= 3 and after[1:2] not in set("类项块箱包盒"):
        return None  # congresses: 十九大
    if said[-1] in "千百" and following in set("克瓦卡帕赫伏"):
        number = _number(said[:-1])
        return None if number is None else Form(start, end - 1, number)
    if said == "二百五" and following not in {"块", "元"}:
        return None
    if _colloquial(said) and following and following != "\n":
        if said[-1] == "一" and following not in set("块元多左的"):
            end -= 1
            said = said[:-1]
        elif following not in _AFTER_COLLOQUIAL:
            return None
    number = _number(said)
    return None if number is None else _signed(text, start, end, number)


def _after_weekday(text: str, start: int, end: int) -> Form | None:
    """周三十点 is ten on Wednesday; the first numeral belongs to the day."""
    if text[start] not in "一二三四五六" or text[end : end + 1] != "点":
        return None
    number = _number(text[start + 1 : end])
    return None if number is None else Form(start + 1, end, number)


def _is_digit_string(digits: str, following: str) -> bool:
    values = [DIGITS[d] for d in digits]
    if len(values) == 2:
        if following not in {"年", "后", "级"}:
            return False
        if following == "后":
            return values[1] in {0, 5} and (values[0] >= 5 or values[0] == 0)
        return values[0] == 0 or values[1] - values[0] not in {1, 2}
    steps = {b - a for a, b in pairwise(values)}
    # 一二三, 一三五 and 三二一 count; they are no number.
    return not (len(steps) == 1 and steps <= {1, 2, -1, -2} and len(values) < 10)


def _signed(text: str, start: int, end: int, written: str) -> Form:
    """The number with a minus sign if 负 stands before it and is no part of another word (胜负, 减负)."""
    if start and text[start - 1] == "负":
        earlier = text[start - 2 : start - 1] or "\n"
        if earlier in _BEFORE_MINUS or not _is_chinese(earlier):
            return Form(start - 1, end, f"-{written}")
    return Form(start, end, written)


@lru_cache(1 << 12)
def _ratio(said: str) -> str | None:
    """`百分之三十` → `30%`, `千分之三` → `3‰`, `三分之二` → `2/3`."""
    for head, sign in (("百分之", "%"), ("千分之", "‰")):
        if said.startswith(head):
            rest = said.removeprefix(head)
            if rest == "百" and sign == "%":
                return "100%"
            share = _decimal(rest) if "点" in rest else _number(rest)
            return None if share is None else f"{share}{sign}"
    whole, _, part = said.rpartition("又")
    below, _, above = part.partition("分之")
    bottom, top = _cardinal(below), _cardinal(above)
    if bottom is None or top is None or bottom < 2 or top < 1:
        return None
    if not whole:
        return f"{top}/{bottom}"
    number = _cardinal(whole)
    return None if number is None else f"{number}又{top}/{bottom}"


def _with_point(said: str, before: str, after: str) -> str | None:
    """`三点一四` → `3.14`, `三点二十` → `3点20`; None if 点 may also be "points" or "a bit"."""
    whole, _, rest = said.partition("点")
    last, following = before[-1:], after[:1]
    if following == "点" or last in {"第", "点"}:
        return None
    told = before[-2:] in TIMES_OF_DAY or last in {"日", "号"}
    if whole == "一" and last in _A_BIT and not told:
        return None
    hour = _cardinal(whole)
    if whole == "两" and set(rest) <= DIGITS.keys() and _AFTER_TWO.match(after):
        return f"2.{figures(rest)}"
    if whole in {"两", "零"}:
        hour = 2 if whole == "两" else 0
    if hour is None:
        return None
    minute = _cardinal(rest)
    if minute is not None and "十" in rest:
        if hour > 24 or minute > 59 or (rest == "十" and not told and hour < 10):
            return None
        return f"{hour}点{minute}"
    digits = set(rest) <= DIGITS.keys()
    if digits and hour <= 24 and len(rest) == 2 and rest[0] in "零〇" and DIGITS[rest[1]]:
        if told or following == "分":
            return f"{hour}点0{DIGITS[rest[1]]}"
        if hour and following not in set("元万亿%倍度米公毫厘"):
            return None  # 十点零五: a time, or a decimal
    if digits and len(rest) == 1 and following == "分" and told:
        return f"{hour}点{DIGITS[rest]}"
    if following == "刻":
        return f"{hour}点{DIGITS[rest]}" if digits and len(rest) == 1 else None
    if whole == "一" and digits and len(rest) == 1 and following in _COUNTED:
        return None
    if len(rest) == 1 and digits and following in {"月", "号"}:
        return None
    return _decimal(said)


@lru_cache(1 << 12)
def _decimal(said: str) -> str | None:
    """`三点一四` → `3.14`, `三点五万` → `3.5万`."""
    whole, _, rest = said.partition("点")
    digits = rest.rstrip("万亿")
    times = rest[len(digits) :]
    number = _cardinal(whole)
    if whole in {"零", "〇"}:
        number = 0
    if whole == "两" and times:
        number = 2
    if (
        number is None
        or not digits
        or not set(digits) <= DIGITS.keys()
        or times not in {"", "万", "亿", "万亿"}
    ):
        return None
    return f"{number}.{figures(digits)}{times}"


@lru_cache(1 << 14)
def _number(said: str) -> str | None:
    """A whole number in figures; multiples of 万 and 亿 keep these. None if it has no single reading."""
    value = _cardinal(said)
    if value is None:
        return None
    if value >= 10**12 and value % 10**12 == 0:
        return f"{value // 10**12}万亿"
    if value >= 10**8 and value % 10**4 == 0:
        return f"{_scaled(value, 10**8)}亿"
    if value >= 10**4 and value % 10**4 == 0:
        return f"{value // 10**4}万"
    return str(value)


def _scaled(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    return f"{whole}.{rest:0{len(str(unit)) - 1}d}".rstrip("0").rstrip(".")


def _digit(said: str) -> int:
    return 10 if said == "十" else 2 if said == "两" else DIGITS[said]


@lru_cache(1 << 14)
def _cardinal(said: str) -> int | None:
    """Value of a number read out by the rules; None for everything else, such as 三四百."""
    for sign, unit in (("亿", 10**8), ("万", 10**4)):
        head, found, tail = said.rpartition(sign)
        if not found:
            continue
        many = 2 if head == "两" else _cardinal(head)
        if many is None or _colloquial(head) or many >= (10**8 if sign == "亿" else 10**4):
            return None
        rest = _rest(tail, unit)
        return None if rest is None else many * unit + rest
    return _below_ten_thousand(said, after_larger=False)


def _rest(tail: str, unit: int) -> int | None:
    """What follows 万 or 亿; a lone digit counts the next smaller power of ten (三万五)."""
    if not tail:
        return 0
    if len(tail) == 1:
        return None if tail not in _ONE_TO_NINE or tail == "两" else DIGITS[tail] * unit // 10
    if unit == 10**8 and "万" in tail:
        value = _cardinal(tail.lstrip("零〇"))
        zero = tail[0] in "零〇"
        # A zero is said exactly where a power of ten is skipped.
        return value if value is not None and zero == (value < 10**7) and not _colloquial(tail) else None
    value = _below_ten_thousand(tail, after_larger=True)
    if value is not None and unit == 10**8 and tail[0] not in "零〇":
        return None
    return value


def _below_ten_thousand(said: str, *, after_larger: bool) -> int | None:
    value, power, zero, at = 0, 10**4, False, 0
    while at < len(said):
        character = said[at]
        if character in "零〇":
            if zero or (at == 0 and not after_larger):
                return None
            zero = True
            at += 1
            continue
        if character == "十" and at == 0 and not after_larger:
            digit, unit, at = 1, 10, 1
        else:
            digit = 2 if character == "两" else DIGITS.get(character, 0)
            unit = UNITS.get(said[at + 1 : at + 2], 1)
            at += 1 if unit == 1 else 2
            if not digit or character == "幺" or (character == "两" and unit < 100):
                return None
        if unit == 1:
            if at < len(said):
                return None
            if not zero and value and power > 10:
                unit = power // 10
        begun = bool(value) or after_larger
        if unit >= power or (begun and zero == (unit == power // 10)):
            return None
        value, power, zero = value + digit * unit, unit, False
    return None if zero or not value else value


def _colloquial(said: str) -> bool:
    """Whether the last digit stands for a power of ten that is not said: 三万五, 一百二."""
    return len(said) > 1 and said[-1] in DIGITS and said[-2] in "百千万亿"
