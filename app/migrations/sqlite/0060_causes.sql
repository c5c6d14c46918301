-- Why a job was written: the request, and the trace that it is a part of (a W3C traceparent).

ALTER TABLE jobs ADD COLUMN request_id TEXT;
ALTER TABLE jobs ADD COLUMN trace TEXT;
