-- The method, the size of the body or a body where # is another number each time come as arguments; what was seen goes
-- out as one line of JSON.
function init(args)
  wrk.method = args[1] or "GET"
  local size = tonumber(args[2] or "0")
  if size > 0 then
    wrk.body = string.rep("x", size)
    wrk.headers["Content-Type"] = "text/plain"
  end
  if args[3] then
    wrk.headers["Content-Type"] = "application/json"
    local count = 0
    local began = os.time()
    request = function()
      count = count + 1
      return wrk.format(nil, nil, nil, (args[3]:gsub("#", began .. "-" .. count)))
    end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "p999": %d, ' ..
    '"errors": {"connect": %d, "read": %d, "write": %d, "not 2xx": %d, "timeout": %d}}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
