-- Puts what a rebuild has written under shadow keys in the place of views, all of it at once; or does nothing at all.
--
-- KEYS[1]  the fence, a hash: epoch, position, chain, id, owner, claimed_ms, rebuilt
-- ARGV[1]  position of the log that the shadows are the fold of
-- ARGV[2]  chain head there
-- ARGV[3]  what this rebuild is called: the fence's `rebuilt` from then on
-- ARGV[4]  what the names of views begin with
-- ARGV[5]  what the names of their shadows begin with
-- ARGV[6]  the plan: MessagePack array of two arrays; the first has name, type, size, name, type, size, ... of the views
--          that get the place of their shadow, the second the names of those that are deleted; names without what they
--          begin with, sizes in fields or members
-- Views and shadows have the fence's hash tag, so they are in its slot.
--
-- Everything is checked before the first write. Answers
--   {'swapped'}
--   {'moved', position}: the log ends somewhere else; somebody writes
--   {'lost', shadow}: a shadow is not as it was written, or not there: another rebuild began, or the server lost it
--   {'diverged', what is wrong}
-- or the error NOPERM.

local fence = redis.call('HMGET', KEYS[1], 'position', 'chain', 'rebuilt')
if not fence[1] then
  return {'diverged', 'the fence ' .. KEYS[1] .. ' is gone: keys were deleted, evicted or expired'}
end
if fence[3] == ARGV[3] then
  return {'swapped'}  -- asked again, by a client that did not get the answer
end
if fence[1] ~= ARGV[1] or fence[2] ~= ARGV[2] then
  return {'moved', fence[1]}
end

-- As in append.lua: while the slot is being moved nothing is written.
redis.call('TYPE', KEYS[1] .. ':absent')

local view, shadow = ARGV[4], ARGV[5]
local replaced, deleted = unpack(cmsgpack.unpack(ARGV[6]))
local count = {hash = 'HLEN', set = 'SCARD'}

if redis.acl_check_cmd then
  for _, command in ipairs({{'UNLINK', view .. 'x'}, {'RENAME', shadow .. 'x', view .. 'x'}, {'HSET', KEYS[1], 'f', 'v'}}) do
    if not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM this user has no permissions to run the ' .. command[1] .. ' command on ' .. command[2])
    end
  end
end

for i = 1, #replaced, 3 do
  local name = shadow .. replaced[i]
  if redis.call(count[replaced[i + 1]], name) ~= replaced[i + 2] then
    return {'lost', name}
  end
end

for i = 1, #replaced, 3 do
  if replaced[i + 2] > 64 then
    redis.call('UNLINK', view .. replaced[i])  -- RENAME alone would free what was there here and now
  end
  redis.call('RENAME', shadow .. replaced[i], view .. replaced[i])
end
for _, name in ipairs(deleted) do
  redis.call('UNLINK', view .. name)
end
redis.call('HSET', KEYS[1], 'rebuilt', ARGV[3])
return {'swapped'}
