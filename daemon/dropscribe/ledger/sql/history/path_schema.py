"""SQL that creates the search index of paths, equal to what the revisions create."""

from __future__ import annotations

#: Trigrams of the paths of `recordings`, without their positions: what is found is compared with the path. As in the index
#: of segments, two characters that no path contains (U+0002) follow every path, so that each of its characters begins a
#: trigram.
SEARCH = """
CREATE VIRTUAL TABLE recording_search USING fts5(
path, content = '', columnsize = 0, detail = 'none', tokenize = 'trigram')
"""

#: Every trigram with the recordings that contain it.
TERMS = """
CREATE VIRTUAL TABLE recording_terms USING fts5vocab('recording_search', 'instance')
"""

INSERTED = """
CREATE TRIGGER recordings_inserted AFTER INSERT ON recordings
BEGIN
    INSERT INTO recording_search (rowid, path) VALUES (new.id, new.path || char(2, 2));
END
"""

RENAMED = """
CREATE TRIGGER recordings_renamed AFTER UPDATE OF path ON recordings WHEN old.path <> new.path
BEGIN
    INSERT INTO recording_search (recording_search, rowid, path) VALUES ('delete', old.id, old.path || char(2, 2));
    INSERT INTO recording_search (rowid, path) VALUES (new.id, new.path || char(2, 2));
END
"""

DELETED = """
CREATE TRIGGER recordings_deleted AFTER DELETE ON recordings
BEGIN
    INSERT INTO recording_search (recording_search, rowid, path) VALUES ('delete', old.id, old.path || char(2, 2));
END
"""

#: Index the recordings that exist, after the index was created anew.
FILL = """
INSERT INTO recording_search (rowid, path) SELECT id, path || char(2, 2) FROM recordings
"""

#: What only SQLite has, in order of creation.
INDEX: tuple[str, ...] = (SEARCH, TERMS, INSERTED, RENAMED, DELETED)
