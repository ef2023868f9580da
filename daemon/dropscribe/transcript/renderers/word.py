"""Word document (Office Open XML), the same bytes for the same transcript.

ECMA-376 part 1 (WordprocessingML) and part 2 (packages). Written without a library: python-docx writes other bytes each
time, and a file is recognised as ours by its hash. The entries of the archive have no date of their own and are not
compressed, since another version of zlib may compress to other bytes.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from xml.sax.saxutils import escape

from dropscribe.durations import clock
from dropscribe.transcript.instants import iso
from dropscribe.transcript.renderers.content import UNSURE, UNSURE_NOTE, Content

#: Earliest date of a ZIP archive, for every entry.
_DATE = (1980, 1, 1, 0, 0, 0)
#: Characters that XML 1.0 cannot have, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_WORDS = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"

_CONTENT_TYPES = (
    f'{_XML}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{_OFFICE}.document.main+xml"/>'
    f'<Override PartName="/word/styles.xml" ContentType="{_OFFICE}.styles+xml"/>'
    '<Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/>'
    "</Types>"
)
_PARTS = (
    f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="word/document.xml"/>'
    f'<Relationship Id="rId2" Type="{_PACKAGE}/relationships/metadata/core-properties" Target="docProps/core.xml"/>'
    "</Relationships>"
)
_DOCUMENT_PARTS = (
    f'{_XML}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>'
)
#: Fonts by name, since none is embedded.
_STYLES = (
    f"{_XML}<w:styles {_WORDS}><w:docDefaults><w:rPrDefault><w:rPr>"
    '<w:rFonts w:ascii="Calibri" w:hAnsi="Calibri" w:eastAsia="Microsoft YaHei" w:cs="Arial"/>'
    '<w:sz w:val="22"/><w:szCs w:val="22"/></w:rPr></w:rPrDefault>'
    '<w:pPrDefault><w:pPr><w:spacing w:after="120" w:line="288" w:lineRule="auto"/></w:pPr></w:pPrDefault></w:docDefaults>'
    '<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>'
    '<w:style w:type="paragraph" w:styleId="Title"><w:name w:val="Title"/><w:basedOn w:val="Normal"/>'
    '<w:pPr><w:spacing w:after="200"/></w:pPr><w:rPr><w:b/><w:sz w:val="36"/><w:szCs w:val="36"/></w:rPr></w:style>'
    '<w:style w:type="paragraph" w:styleId="Remark"><w:name w:val="Remark"/><w:basedOn w:val="Normal"/>'
    '<w:rPr><w:i/><w:color w:val="7F6000"/></w:rPr></w:style>'
    '<w:style w:type="character" w:styleId="Time"><w:name w:val="Time"/>'
    '<w:rPr><w:color w:val="6B6B6B"/><w:sz w:val="18"/><w:szCs w:val="18"/></w:rPr></w:style>'
    '<w:style w:type="character" w:styleId="Speaker"><w:name w:val="Speaker"/><w:rPr><w:b/></w:rPr></w:style>'
    '<w:style w:type="character" w:styleId="Unsure"><w:name w:val="Unsure"/>'
    '<w:rPr><w:u w:val="dotted" w:color="C00000"/></w:rPr></w:style>'
    "</w:styles>"
)


def docx(content: Content) -> bytes:
    """Word document: title, remarks, and paragraphs with time and, where that changes, speaker; unsure words marked."""
    entries = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _PARTS,
        "docProps/core.xml": _properties(content),
        "word/document.xml": _document(content),
        "word/styles.xml": _STYLES,
        "word/_rels/document.xml.rels": _DOCUMENT_PARTS,
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, text in entries.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # Unix, on every system
            archive.writestr(entry, text.encode("utf-8"))
    return file.getvalue()


def _document(content: Content) -> str:
    # A4 with margins of 2 cm, in twentieths of a point.
    page = (
        '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/>'
        '<w:pgMar w:top="1134" w:right="1134" w:bottom="1134" w:left="1134" w:header="567" w:footer="567" w:gutter="0"/>'
        "</w:sectPr>"
    )
    return f"{_XML}<w:document {_WORDS}><w:body>{''.join(_paragraphs(content))}{page}</w:body></w:document>"


def _paragraphs(content: Content) -> Iterator[str]:
    yield _paragraph(_run(content.transcript.recording_name), "Title")
    for remark in content.remarks:
        yield _paragraph(_run(remark.text), "Remark")
    spans = [(paragraph, paragraph.spans(UNSURE)) for paragraph in content.paragraphs]
    if any(unsure for _, found in spans for _, unsure in found):
        yield _paragraph(_run(UNSURE_NOTE), "Remark")
    for paragraph, found in spans:
        runs = [_run(f"{clock(paragraph.start_ms // 1000)}  ", "Time")]
        if paragraph.begins and (label := content.label(paragraph.speaker)):
            runs.append(_run(label, "Speaker"))
        runs += [_run(text, "Unsure" if unsure else None) for text, unsure in found]
        yield _paragraph("".join(runs))


def _paragraph(runs: str, style: str | None = None) -> str:
    properties = "" if style is None else f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>'
    return f"<w:p>{properties}{runs}</w:p>"


def _run(text: str, style: str | None = None) -> str:
    properties = "" if style is None else f'<w:rPr><w:rStyle w:val="{style}"/></w:rPr>'
    return f'<w:r>{properties}<w:t xml:space="preserve">{_xml(text)}</w:t></w:r>'


def _properties(content: Content) -> str:
    transcript = content.transcript
    return (
        f'{_XML}<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"<dc:title>{_xml(transcript.recording_name)}</dc:title><dc:creator>dropscribe</dc:creator>"
        f'<dcterms:created xsi:type="dcterms:W3CDTF">{iso(transcript.created_at)}</dcterms:created>'
        "</cp:coreProperties>"
    )


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
