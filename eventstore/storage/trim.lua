-- Removes from the beginning of a trader's log what is in an archive, a bounded number of entries a call.
--
-- KEYS[1]  the log, a stream
-- KEYS[2]  the fence, a hash: epoch, position, chain, id, owner, claimed_ms
-- KEYS[3]  how far the log was archived, a hash: position, chain, id
-- ARGV[1]  the last position that the archive has
-- ARGV[2]  the chain head there
-- ARGV[3]  the id of that entry
-- ARGV[4]  the lowest id that stays
-- ARGV[5]  how many entries may go in this call, whole nodes of the stream only; 0 for all below ARGV[4]
--
-- The writer is not disturbed: it goes by the fence and the last id, and the last entry of the log always stays. Answers
--   {'trimmed', entries}: so many are gone, and KEYS[3] says how far the log was archived, if it did not say further
--   {'elsewhere', what is wrong}: nothing was changed
--
-- The log is trimmed before the hash is written: a server without memory takes the second only behind the first.

local fence = redis.call('HMGET', KEYS[2], 'position', 'id')
if not fence[1] then
  return {'elsewhere', 'the fence ' .. KEYS[2] .. ' is gone'}
end
if tonumber(fence[1]) <= tonumber(ARGV[1]) then
  return {'elsewhere', 'the log ends at position ' .. fence[1] .. ', and its last entry has to stay'}
end

local mark = redis.call('HMGET', KEYS[3], 'position', 'chain', 'id')
local stands = mark[1] == ARGV[1] and mark[2] == ARGV[2] and mark[3] == ARGV[3]
if not stands then
  local found = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
  if not found then
    return {'elsewhere', 'there is no entry ' .. ARGV[3]}
  end
  local head
  for i = 1, #found[2], 2 do
    if found[2][i] == 'h' then head = found[2][i + 1] end
  end
  if head ~= ARGV[2] then
    return {'elsewhere', 'another chain head stands at ' .. ARGV[3]}
  end
end

local gone
if ARGV[5] == '0' then
  gone = redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[4])
else
  gone = redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[4], 'LIMIT', ARGV[5])
end
if not stands and tonumber(mark[1] or -1) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[3], 'position', ARGV[1], 'chain', ARGV[2], 'id', ARGV[3])
end
return {'trimmed', gone}
