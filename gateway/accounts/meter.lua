-- One application's meter in a Redis: the arithmetic of meter.py, in one step that nothing can
-- come between. Times are the Redis' own, so all nodes agree.
--
-- KEYS: the meter (hash), leases of what runs (zset by end), what each holds (hash)
-- ARGV: what to do, the request's id, lease in ms,
--       limits (-1: none): concurrency, requests, their ms, tokens, their ms,
--       money a day, a month, tokens a day, a month,
--       then reserve, adopt: money, most and likely tokens; settle: money, tokens;
--       seed: money and tokens of the day, money and tokens of the month
-- Gives: code, wait, requests used, reset, tokens used, reset, left of a budget, slot
local SLOTS = 20
local KEEP_S = 62 * 86400
local meter, leases, holds = KEYS[1], KEYS[2], KEYS[3]
local what, id, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local limit = {}
for i, name in ipairs({'concurrency', 'requests', 'requests_ms', 'tokens', 'tokens_ms',
                       'money_day', 'money_month', 'tokens_day', 'tokens_month'}) do
  limit[name] = tonumber(ARGV[3 + i])
end
local more = {}
for i = 13, #ARGV do more[i - 12] = tonumber(ARGV[i]) end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local day = math.floor(tonumber(clock[1]) / 86400)

-- The month of a day since 1970, by counting from March (Howard Hinnant's civil_from_days).
local function month_of(days)
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local shifted = math.floor((5 * doy + 2) / 153)
  local month = shifted < 10 and shifted + 3 or shifted - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return year * 12 + month - 1
end
local month = month_of(day)

local fields = {}
local flat = redis.call('HGETALL', meter)
for i = 1, #flat, 2 do fields[flat[i]] = tonumber(flat[i + 1]) end
local function value(name) return fields[name] or 0 end
local function add(name, amount)
  if amount ~= 0 then
    fields[name] = value(name) + amount
    redis.call('HINCRBY', meter, name, string.format('%.0f', amount))
  end
end
local function set(name, amount)
  fields[name] = amount
  redis.call('HSET', meter, name, string.format('%.0f', amount))
end

-- A new day or month begins with nothing spent; a clock that went back a little gives none anew.
local function turn(name, number)
  if value(name) ~= number and value(name) - 1 ~= number then
    set(name, number)
    set(name .. '_money', 0)
    set(name .. '_tokens', 0)
  end
end
turn('day', day)
turn('month', month)
local function spend(money, tokens)
  add('day_money', money) add('day_tokens', tokens)
  add('month_money', money) add('month_tokens', tokens)
end

-- Takes what a request holds out of the sums; nil when it holds nothing any more.
local function release(one)
  local held = redis.call('HGET', holds, one)
  if not held then return nil end
  local money, most, likely, slot = string.match(held, '^(%d+):(%d+):(%d+):(%d+)$')
  add('running', -1)
  add('held_money', -tonumber(money))
  add('held_tokens', -tonumber(most))
  redis.call('HDEL', holds, one)
  redis.call('ZREM', leases, one)
  return {tonumber(money), tonumber(most), tonumber(likely), tonumber(slot)}
end
-- Whoever does not renew has died: what he held may have been spent, and counts so.
for _, one in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, 50)) do
  local held = release(one)
  if held then spend(held[1], held[2]) else redis.call('ZREM', leases, one) end
end

local function window(kind, length)
  local found = {kind = kind, length = length, total = 0, counts = {},
                 newest = math.floor(now * SLOTS / length)}
  for field, count in pairs(fields) do
    local its, number = string.match(field, '^' .. kind .. ':(%d+):(%d+)$')
    if its then
      number = tonumber(number)
      if tonumber(its) ~= length or number < found.newest - SLOTS then
        redis.call('HDEL', meter, field)
      else
        found.counts[number] = count
        found.total = found.total + count
      end
    end
  end
  return found
end
local function put(w, slot, amount)
  add(w.kind .. ':' .. string.format('%.0f', w.length) .. ':' .. string.format('%.0f', slot), amount)
  w.total = w.total + amount
  w.counts[slot] = (w.counts[slot] or 0) + amount
end
local function leaves(w, slot) return math.max(1, (slot + SLOTS + 1) * w.length / SLOTS - now) end
local function room(w, need, most)
  local excess = w.total + need - most
  for slot = w.newest - SLOTS, w.newest do
    excess = excess - (w.counts[slot] or 0)
    if excess <= 0 then return leaves(w, slot) end
  end
  return w.length
end
local function reset(w)
  for slot = w.newest - SLOTS, w.newest do
    if (w.counts[slot] or 0) > 0 then return leaves(w, slot) end
  end
  return 0
end

local code, wait, left, slot = 0, 0, 0, 0
local asked = limit.requests >= 0 and window('r', limit.requests_ms) or nil
local used = limit.tokens >= 0 and window('t', limit.tokens_ms) or nil
local budgets = {
  {4, limit.money_day, value('day_money'), value('held_money'), 1},
  {5, limit.money_month, value('month_money'), value('held_money'), 1},
  {6, limit.tokens_day, value('day_tokens'), value('held_tokens'), 2},
  {7, limit.tokens_month, value('month_tokens'), value('held_tokens'), 2},
}

if what == 'admit' then
  for _, budget in ipairs(budgets) do
    if code == 0 and budget[2] >= 0 and budget[3] >= budget[2] then code = budget[1] end
  end
  if code == 0 and limit.concurrency >= 0 and value('running') >= limit.concurrency then
    code, wait = 1, 1000
  end
  if code == 0 and asked and asked.total + 1 > limit.requests then
    code, wait = 2, room(asked, 1, limit.requests)
  end
  -- Asked once more, as its answer was lost: it is counted in already.
  if code == 0 and redis.call('HEXISTS', holds, id) == 0 then
    if asked then put(asked, asked.newest, 1) end
    add('running', 1)
    redis.call('ZADD', leases, now + lease, id)
    redis.call('HSET', holds, id, '0:0:0:0')
    for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, KEEP_S) end
  end
elseif what == 'reserve' then
  for _, budget in ipairs(budgets) do
    local most, spent, held, need = budget[2], budget[3], budget[4], more[budget[5]]
    if code == 0 and most >= 0 and spent + held + need > most then
      left = math.max(0, most - spent)
      if spent + need <= most then code, wait = budget[1] + 10, 1000 else code = budget[1] end
    end
  end
  if code == 0 and used and used.total + more[3] > limit.tokens then
    code, wait = 3, room(used, more[3], limit.tokens)
    if more[3] > limit.tokens then code = 23 end
  end
  if code == 0 then
    -- A further attempt of the same request adds to what it holds; its place in the window stays.
    local before = {0, 0, 0, 0}
    local held = redis.call('HGET', holds, id)
    if held then
      for i, one in ipairs({string.match(held, '^(%d+):(%d+):(%d+):(%d+)$')}) do
        before[i] = tonumber(one)
      end
    end
    slot = before[4]
    if used and slot == 0 then
      slot = used.newest
      put(used, slot, more[3])
    end
    -- Where its lease ran out meanwhile, or it was settled by a caller who left, it has one anew:
    -- nothing is held without an end.
    if not held then add('running', 1) end
    redis.call('ZADD', leases, now + lease, id)
    add('held_money', more[1])
    add('held_tokens', more[2])
    redis.call('HSET', holds, id, string.format('%.0f:%.0f:%.0f:%.0f',
      before[1] + more[1], before[2] + more[2], before[3] + more[3], slot))
  end
elseif what == 'adopt' then
  -- It was let in while this Redis was gone.
  if redis.call('HEXISTS', holds, id) == 0 then
    add('running', 1)
    add('held_money', more[1])
    add('held_tokens', more[2])
    redis.call('ZADD', leases, now + lease, id)
    redis.call('HSET', holds, id, string.format('%.0f:%.0f:%.0f:0', more[1], more[2], more[3]))
    for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, KEEP_S) end
  end
elseif what == 'settle' then
  local held = release(id)
  -- Nothing is held any more where the lease ran out; it was counted then.
  if held then
    spend(more[1], more[2])
    if used and held[4] > 0 and held[4] >= used.newest - SLOTS then
      put(used, held[4], more[2] - held[3])
    end
  end
elseif what == 'seed' then
  -- The ledger is a little behind, and all that there is where this Redis lost what it knew.
  for i, name in ipairs({'day_money', 'day_tokens', 'month_money', 'month_tokens'}) do
    add(name, math.max(0, more[i] - value(name)))
  end
  redis.call('EXPIRE', meter, KEEP_S)
end

return {code, math.ceil(wait), asked and asked.total or 0, math.ceil(asked and reset(asked) or 0),
        used and used.total or 0, math.ceil(used and reset(used) or 0), left, slot}
