"""Words of the page in English and Chinese, chosen by `Accept-Language`. Pure.

The English text is the key; a text without a translation stays English.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ENGLISH, CHINESE = "en", "zh-CN"


def language_of(accepted: str) -> str:
    """Language for a value of `Accept-Language`: the first of those there are, by weight; English if there is none."""
    wanted = []
    for place, part in enumerate(accepted.split(",")[:20]):
        tag, _, weight = part.partition(";")
        try:
            share = float(weight.partition("=")[2]) if weight else 1.0
        except ValueError:
            share = 0.0
        wanted.append((-share, place, tag.strip().lower().partition("-")[0]))
    for share, _, name in sorted(wanted):
        if share < 0 and name in {"zh", "en"}:
            return CHINESE if name == "zh" else ENGLISH
    return ENGLISH


def translate(text: str, language: str, **parts: object) -> str:
    """`text` in a language, with its `{parts}` filled in."""
    chosen = CHINESE_WORDS.get(text, text) if language == CHINESE else text
    return chosen.format(**parts) if parts else chosen


CHINESE_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "Recordings": "录音",
        "Status": "状态",
        "Skip to content": "跳到正文",
        "Search": "搜索",
        "Words in transcripts": "转写文字中的词",
        "Words, or a phrase in quotes": "词语，或引号中的短语",
        "Folder": "文件夹",
        "State": "状态",
        "Host": "主机",
        "Speaker": "说话人",
        "Name of the recording": "录音名称",
        "Part of its path": "路径的一部分",
        "From": "从",
        "To": "到",
        "At least, minutes": "至少（分钟）",
        "At most, minutes": "至多（分钟）",
        "More filters": "更多筛选",
        "any": "不限",
        "all": "全部",
        "Show all": "显示全部",
        "queued": "排队中",
        "running": "进行中",
        "done": "完成",
        "failed": "失败",
        "cancelled": "已取消",
        "held": "等待处理",
        "No recordings.": "没有录音。",
        "No recordings match.": "没有符合条件的录音。",
        "Older": "更早的",
        "Newest": "最新的",
        "and more in this recording": "此录音中还有更多",
        "Sound": "声音",
        "Play or pause": "播放或暂停",
        "The recording itself is no longer where it was.": "录音文件已不在原处。",
        "Click a sentence to hear it. Space: play or pause. ← →: 5 seconds.": "点击句子即可播放。空格：播放或暂停；← →：跳 5 秒。",
        "Text": "文字",
        "There is no text.": "没有文字。",
        "No speech was found in it.": "其中没有发现语音。",
        "The text was removed.": "文字已被删除。",
        "Words of which the model was not sure are underlined with dots.": "带点下划线的词，模型不太确定。",
        "Reason": "原因",
        "What to do": "处理办法",
        "Remarks": "说明",
        "Downloads": "下载",
        "Original recording": "原始录音",
        "What happened": "经过",
        "Time by stage": "各阶段用时",
        "Facts": "信息",
        "Job": "任务",
        "Path": "路径",
        "Profile": "方案",
        "Length": "时长",
        "Of it speech": "其中语音",
        "Format": "格式",
        "Model": "模型",
        "Device": "设备",
        "Attempts": "尝试次数",
        "Priority": "优先级",
        "Version": "版本",
        "Result of job {job}": "任务 {job} 的结果",
        "Other versions": "其他版本",
        "Unfinished text": "未完成的文字",
        "retry": "重试",
        "cancel": "取消",
        "redo": "重新转写",
        "Cancel this recording?": "取消此录音？",
        "Set": "设置",
        "Problems": "问题",
        "In progress": "正在处理",
        "Queue": "队列",
        "All folders": "所有文件夹",
        "of them held": "其中等待处理",
        "hours, estimated": "小时（估计）",
        "busy": "占用",
        "Failed lately": "最近失败",
        "since": "自",
        "Pause and resume": "暂停与恢复",
        "Resume all": "全部恢复",
        "Pause all": "全部暂停",
        "Resume {folder}": "恢复 {folder}",
        "Pause {folder}": "暂停 {folder}",
        "recordings a minute": "个录音/分钟",
        "audio": "音频",
        "share failed": "失败占比",
        "real time": "实时倍速",
        "The last 24 hours": "最近 24 小时",
        "The last 30 days": "最近 30 天",
        "{done} done, {failed} failed, {hours} hours of audio": "完成 {done}，失败 {failed}，音频 {hours} 小时",
        "Correct": "更正",
        "Save": "保存",
        "Back": "返回",
        "Name": "命名",
        "Speakers": "说话人",
        "✎ beside a paragraph corrects it.": "点击段落旁的 ✎ 可更正文字。",
        "An empty sentence is removed. The files are written again as a new version; the old one stays in the history.": "留空的句子将被删除。文件将作为新版本重新写出，旧版本保留在历史中。",
        "Send": "上传",
        "Send recordings": "上传录音",
        "larger than {most} MiB, the limit of this page": "超过此页面的上限 {most} MiB",
        "no recording by its name": "文件名不是录音",
        "sent; it will be transcribed": "已上传，将自动转写",
        "connection lost; trying again": "连接中断，正在重试",
        "Show it": "查看",
        "waits": "等待",
        "Recordings, at most {most} MiB each; or drop them here": "录音文件，每个至多 {most} MiB；也可拖放到此处",
        "This needs JavaScript.": "需要 JavaScript。",
        "Token": "令牌",
        "This page needs a token.": "此页面需要令牌。",
        "That is not the token.": "令牌不正确。",
        "Enter": "进入",
        "Error": "错误",
        "Back to the recordings": "返回录音列表",
        "there is no such page": "没有此页面",
        "this cannot be done here": "此处不能这样做",
    }
)
