-- Says where one trader's log ends, behind a write of its own.
--
-- KEYS[1]  the fence, a hash: epoch, position, chain, id, owner, claimed_ms, probed
-- ARGV[1]  epoch of the writer
-- ARGV[2]  owner that claimed the epoch
--
-- A server answers WAIT and WAITAOF for what was written before on the same connection. Batches come on another one; the
-- write of `probed` on this one is behind all that are in the log now, in the stream to the replicas and in the file.
-- Answers
--   {'at', position}: the log ends there, and `probed` says so
--   {'fenced', epoch, owner}: another writer took over; or, with a lower epoch, the server was set back
--   {'gone'}: there is no fence
-- and writes nothing but where it answers 'at'.

local fence = redis.call('HMGET', KEYS[1], 'epoch', 'position', 'owner')
if not fence[1] then
  return {'gone'}
end
if fence[1] ~= ARGV[1] or fence[3] ~= ARGV[2] then
  return {'fenced', fence[1], fence[3]}
end
redis.call('HSET', KEYS[1], 'probed', fence[2])
return {'at', fence[2]}
