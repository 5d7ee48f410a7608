-- The queue in Redis: every operation is one script, so a process may be killed between any two.
-- KEYS[1] is the prefix with its hash tag; ARGV[1] the operation. Times are the server's own.
local P, op = KEYS[1], ARGV[1]
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local wait, lease, deadline = P .. 'wait', P .. 'lease', P .. 'deadline'
local hooks, types, ended, all = P .. 'hooks', P .. 'types', P .. 'ended', P .. 'all'
local owners = P .. 'owners'
-- Of an application over a limit of its own: until when, and its jobs meanwhile, by rank.
local rests = P .. 'rests'
local function heldof(app) return P .. 'held:' .. app end
local SWEEP, ASIDE = 500, 5000

local function num(x) return string.format('%.17g', x) end
local function key(id) return P .. 'job:' .. id end
local function turns(app) return P .. 'turns:' .. app end
local function get(id, ...) return redis.call('HMGET', key(id), ...) end

local function out(id)
  local f = get(id, 'app_id', 'type')
  redis.call('ZREM', wait, id)
  redis.call('ZREM', deadline, id)
  redis.call('ZREM', turns(f[1]), id)
  redis.call('ZREM', heldof(f[1]), id)
  if redis.call('HINCRBY', types, f[2], -1) <= 0 then redis.call('HDEL', types, f[2]) end
end

local function into(id)
  local f = get(id, 'app_id', 'type', 'rank', 'tag', 'expires_at')
  redis.call('ZADD', wait, f[3], id)
  redis.call('ZADD', deadline, f[5], id)
  redis.call('ZADD', turns(f[1]), f[4], id)
  redis.call('HINCRBY', types, f[2], 1)
end

local function resting(app)
  local till = redis.call('HGET', rests, app)
  return till and tonumber(till) > now
end

-- From the line to those that a limit holds: it still waits, and is in nobody's way.
local function aside(id, app, rank)
  redis.call('ZREM', wait, id)
  redis.call('ZADD', heldof(app), rank, id)
  redis.call('HSET', key(id), 'status', 'held')
end

local function back(id)
  redis.call('ZREM', lease, id)
  local owner = get(id, 'owner')[1]
  if owner then redis.call('HDEL', owners, owner) end
  redis.call('HDEL', key(id), 'owner', 'started_at')
  redis.call('HSET', key(id), 'status', 'queued')
  into(id)
end

local function close(id, status)
  redis.call('ZREM', lease, id)
  local f = get(id, 'webhook', 'owner')
  if f[2] then redis.call('HDEL', owners, f[2]) end
  redis.call('HDEL', key(id), 'owner')
  redis.call('HSET', key(id), 'status', status, 'ended_at', num(now))
  redis.call('ZADD', ended, num(now), id)
  if f[1] then
    redis.call('HSET', key(id), 'hook_state', 'pending')
    redis.call('ZADD', hooks, num(now), id)
  end
end

local function mine(id, owner)
  local f = get(id, 'owner', 'status')
  if f[1] ~= owner or f[2] ~= 'processing' then return false end
  local till = redis.call('ZSCORE', lease, id)
  return till and tonumber(till) >= now
end

local function event(id, kind, data)
  redis.call('HINCRBY', key(id), 'written', 1)
  redis.call('RPUSH', P .. 'events:' .. id, kind .. ' ' .. data)
end

if op == 'enqueue' then
  local capacity, spread, boost = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
  local jobs = cjson.decode(ARGV[5])
  local found, fresh = {}, {}
  for _, job in ipairs(jobs) do
    local known = job.idem_key and redis.call('GET', P .. 'idem:' .. job.app_id .. ':' .. job.idem_key)
    if known then
      if get(known, 'digest')[1] ~= job.digest then return {'reused'} end
      found[#found + 1] = known
      found[#found + 1] = '0'
    else
      fresh[#fresh + 1] = job
      found[#found + 1] = job.id
      found[#found + 1] = '1'
    end
  end
  -- Those that are held have a deadline, too.
  local waiting = redis.call('ZCARD', deadline)
  if #fresh > 0 and waiting + #fresh > capacity then return {'full', tostring(waiting)} end
  for _, job in ipairs(fresh) do
    local last = redis.call('ZREVRANGE', turns(job.app_id), 0, 0, 'WITHSCORES')
    local tag = now
    if last[2] and tonumber(last[2]) + spread > now then tag = tonumber(last[2]) + spread end
    local seq = redis.call('INCR', P .. 'seq')
    local fields = {'seq', seq, 'status', 'queued', 'created_at', num(now),
      'expires_at', num(now + job.timeout_s), 'tag', num(tag),
      'rank', num(tag - job.priority * boost), 'claims', 0, 'written', 0, 'hook_tries', 0}
    for _, name in ipairs({'id', 'app_id', 'app_name', 'type', 'door', 'priority', 'body',
        'question', 'webhook', 'idem_key', 'digest'}) do
      if job[name] ~= nil and job[name] ~= cjson.null then
        fields[#fields + 1] = name
        fields[#fields + 1] = job[name]
      end
    end
    redis.call('HSET', key(job.id), unpack(fields))
    redis.call('ZADD', all, seq, job.id)
    redis.call('ZADD', P .. 'of:' .. job.app_id, seq, job.id)
    if job.idem_key then
      redis.call('SET', P .. 'idem:' .. job.app_id .. ':' .. job.idem_key, job.id)
    end
    into(job.id)
    if resting(job.app_id) then aside(job.id, job.app_id, num(tag - job.priority * boost)) end
  end
  return found
elseif op == 'claim' then
  local owner, lease_s = ARGV[2], tonumber(ARGV[3])
  local from, asides = 0, 0
  while asides < ASIDE do
    local id = redis.call('ZRANGE', wait, from, from)[1]
    if not id then return nil end
    local f = get(id, 'expires_at', 'app_id', 'rank')
    if resting(f[2]) then
      aside(id, f[2], f[3])
      from, asides = from - 1, asides + 1
    elseif tonumber(f[1]) > now then
      out(id)
      redis.call('ZADD', lease, num(now + lease_s), id)
      redis.call('HSET', owners, owner, id)
      redis.call('HSET', key(id), 'status', 'processing', 'owner', owner, 'started_at', num(now))
      redis.call('HINCRBY', key(id), 'claims', 1)
      local before = tonumber(get(id, 'written')[1])
      event(id, before > 0 and 'restarted' or 'processing', '{}')
      return redis.call('HGETALL', key(id))
    end
    from = from + 1
  end
elseif op == 'renew' then
  local found = {}
  for n = 3, #ARGV do
    local id = redis.call('HGET', owners, ARGV[n])
    if id and mine(id, ARGV[n]) then
      redis.call('ZADD', lease, num(now + tonumber(ARGV[2])), id)
      found[#found + 1] = ARGV[n]
    end
  end
  return found
elseif op == 'append' then
  if not mine(ARGV[2], ARGV[3]) then return 0 end
  for n = 4, #ARGV, 2 do event(ARGV[2], ARGV[n], ARGV[n + 1]) end
  return 1
elseif op == 'finish' then
  local id = ARGV[2]
  if not mine(id, ARGV[3]) then return 0 end
  local f = get(id, 'type', 'started_at')
  close(id, ARGV[4])
  if ARGV[5] ~= '' then redis.call('HSET', key(id), 'result', ARGV[5]) end
  if ARGV[6] ~= '' then redis.call('HSET', key(id), 'error', ARGV[6]) end
  if ARGV[4] == 'completed' then
    redis.call('LPUSH', P .. 'durations', num(now - tonumber(f[2])) .. ' ' .. f[1])
    redis.call('LTRIM', P .. 'durations', 0, tonumber(ARGV[7]) - 1)
  end
  return 1
elseif op == 'release' then
  if not mine(ARGV[2], ARGV[3]) then return 0 end
  back(ARGV[2])
  redis.call('HINCRBY', key(ARGV[2]), 'claims', -1)
  return 1
elseif op == 'hold' then
  local id = ARGV[2]
  if not mine(id, ARGV[3]) then return 0 end
  local f = get(id, 'app_id', 'rank')
  back(id)
  redis.call('HINCRBY', key(id), 'claims', -1)
  -- It was taken for nothing: nobody need hear of it.
  local last = redis.call('LINDEX', P .. 'events:' .. id, -1)
  if last == 'processing {}' or last == 'restarted {}' then
    redis.call('RPOP', P .. 'events:' .. id)
    redis.call('HINCRBY', key(id), 'written', -1)
  end
  redis.call('HSET', rests, f[1], num(now + tonumber(ARGV[4])))
  aside(id, f[1], f[2])
  return 1
elseif op == 'held' then
  local f = get(ARGV[2], 'app_id', 'status')
  if f[2] ~= 'held' then return nil end
  local till = tonumber(redis.call('HGET', rests, f[1]) or now)
  return {num(math.max(0, till - now)), redis.call('ZRANK', heldof(f[1]), ARGV[2])}
elseif op == 'place' then
  local f = get(ARGV[2], 'app_id', 'status', 'rank')
  if f[2] ~= 'held' then return nil end
  return redis.call('ZCOUNT', wait, '-inf', '(' .. f[3])
    + redis.call('ZRANK', heldof(f[1]), ARGV[2]) + 1
elseif op == 'cancel' then
  local id = ARGV[2]
  local status = get(id, 'status')[1]
  if not status then return nil end
  if status == 'held' then status = 'queued' end
  if status == 'queued' then out(id) end
  if status == 'queued' or status == 'processing' then close(id, 'cancelled') end
  return status
elseif op == 'reap' then
  local found = {}
  local function told(id, what)
    found[#found + 1] = id
    found[#found + 1] = what
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', lease, '-inf', '(' .. num(now), 'LIMIT', 0, 500)) do
    if tonumber(get(id, 'claims')[1]) >= tonumber(ARGV[2]) then
      redis.call('HSET', key(id), 'error', ARGV[4])
      close(id, 'error')
      told(id, 'error')
    else
      back(id)
      told(id, 'queued')
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', deadline, '-inf', num(now), 'LIMIT', 0, 500)) do
    out(id)
    close(id, 'expired')
    told(id, 'expired')
  end
  local told_rests = redis.call('HGETALL', rests)
  for n = 1, #told_rests, 2 do
    if tonumber(told_rests[n + 1]) <= now then
      local those = redis.call('ZRANGE', heldof(told_rests[n]), 0, SWEEP - 1, 'WITHSCORES')
      for at = 1, #those, 2 do
        redis.call('ZREM', heldof(told_rests[n]), those[at])
        redis.call('ZADD', wait, those[at + 1], those[at])
        redis.call('HSET', key(those[at]), 'status', 'queued')
        told(those[at], 'queued')
      end
      if #those < 2 * SWEEP then redis.call('HDEL', rests, told_rests[n]) end
    end
  end
  local old = num(now - tonumber(ARGV[3]))
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', ended, '-inf', old, 'LIMIT', 0, 500)) do
    local f = get(id, 'app_id', 'idem_key')
    redis.call('ZREM', ended, id)
    redis.call('ZREM', hooks, id)
    redis.call('ZREM', all, id)
    redis.call('ZREM', P .. 'of:' .. f[1], id)
    if f[2] then redis.call('DEL', P .. 'idem:' .. f[1] .. ':' .. f[2]) end
    redis.call('DEL', key(id), P .. 'events:' .. id)
  end
  return found
elseif op == 'beat' then
  if ARGV[3] == '0' then
    redis.call('HDEL', P .. 'workers', ARGV[2])
  else
    redis.call('HSET', P .. 'workers', ARGV[2], ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. num(now))
  end
  return 1
elseif op == 'stats' then
  local since
  for _, id in ipairs(redis.call('ZRANGE', deadline, 0, 99)) do
    local f = get(id, 'created_at', 'status')
    since = f[2] == 'queued' and f[1]
    if since then break end
  end
  local slots, busy = 0, 0
  local told = redis.call('HGETALL', P .. 'workers')
  for n = 1, #told, 2 do
    local s, b, at = string.match(told[n + 1], '(%S+) (%S+) (%S+)')
    if tonumber(at) >= now - tonumber(ARGV[2]) then
      slots, busy = slots + tonumber(s), busy + tonumber(b)
    elseif tonumber(at) < now - 600 then
      redis.call('HDEL', P .. 'workers', told[n])
    end
  end
  return {redis.call('ZCARD', deadline), since and num(now - tonumber(since)) or '0',
    redis.call('ZCARD', lease), slots, busy, redis.call('HGETALL', types)}
elseif op == 'hooks' then
  local found = {}
  local due = redis.call('ZRANGEBYSCORE', hooks, '-inf', num(now), 'LIMIT', 0, tonumber(ARGV[2]))
  for _, id in ipairs(due) do
    redis.call('ZADD', hooks, num(now + tonumber(ARGV[3])), id)
    redis.call('HINCRBY', key(id), 'hook_tries', 1)
    found[#found + 1] = redis.call('HGETALL', key(id))
  end
  return found
elseif op == 'told' then
  if redis.call('EXISTS', key(ARGV[2])) == 0 then return 0 end
  redis.call('HSET', key(ARGV[2]), 'hook_state', ARGV[3])
  if ARGV[4] == '' then
    redis.call('ZREM', hooks, ARGV[2])
  else
    redis.call('ZADD', hooks, num(now + tonumber(ARGV[4])), ARGV[2])
  end
  return 1
end
