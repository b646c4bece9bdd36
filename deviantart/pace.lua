-- The whole pace of one account and of the application, decided at one moment by Redis' own clock (deviantart/pace.py).
-- Times are microseconds. KEYS: the account's state, the application's, since when this Redis knows anything.
-- ARGV: the operation, JSON of what it needs. Every operation is one call, and nothing of another call comes between.

local account_key, application_key, memory_key = KEYS[1], KEYS[2], KEYS[3]
local operation, given = ARGV[1], cjson.decode(ARGV[2])
local config = given.config

local function server_now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local now = given.now or server_now()
local floor = math.floor -- all that is kept is whole, so that a moment that was told is not missed by a fraction

-- Since when this Redis remembers: what was known before that is lost, and a state that is missing may have been a bad one.
local remembers_since = tonumber(redis.call('GET', memory_key) or false)
if not remembers_since then
  remembers_since = now
  redis.call('SET', memory_key, string.format('%.0f', now))
end
local forgetful = now - remembers_since < config.most

local FIELDS = {
  'spacing', -- between two calls once the burst is used up; 0: open
  'due', -- when the burst would be whole again if nothing more came (GCRA's theoretical arrival time)
  'blocked', -- nothing is asked before
  'pause', -- what was waited, or sufficed, after the last refusal
  'refused', -- refusals in a row
  'refused_at', -- the last one; 0: none that is remembered
  'found', -- the spacing that the last refusal led to
  'progress', -- 0 to 1: how far that spacing has been tried
  'accepted', -- calls since the last refusal, and how many of them had to wait for the pace
  'paced',
  'counted_since', -- for an open application: since when it counts, and what it had counted before
  'rate_before', -- calls per second
  'waited', -- somebody was told to come back since the last call
  'reserved', -- when the next work is due
  'last', -- the last call
  'all_accepted', -- for people
  'all_refused',
}

local function load(key, base, held)
  local values = redis.call('HMGET', key, unpack(FIELDS))
  local state = { key = key, base = base }
  for place, name in ipairs(FIELDS) do
    state[name] = tonumber(values[place] or 0)
  end
  if not values[1] then
    state.spacing = base
    -- Nobody knows what was lost: no burst, and not before what the one who asks remembers.
    state.blocked = held and now + held or 0
    state.due = forgetful and now + (config.burst - 1) * base or 0
  elseif now - math.max(state.refused_at, state.blocked) > config.forget then
    -- What was learnt long ago says nothing about today.
    if base == 0 or now - state.last > config.forget then
      state.spacing = base
    elseif state.refused_at > 0 then
      state.spacing = math.min(state.spacing, base)
    end
    state.refused_at, state.refused, state.progress, state.found = 0, 0, 0, 0
  end
  -- No debt of a longer spacing than today's.
  state.due = math.min(state.due, math.max(state.blocked, now) + config.burst * state.spacing)
  return state
end

local function save(state)
  local values = {}
  for _, name in ipairs(FIELDS) do
    table.insert(values, name)
    -- Whole numbers but for one, since a float would be written with fewer digits than a time has.
    local form = (name == 'progress' or name == 'rate_before') and '%.6f' or '%.0f'
    table.insert(values, string.format(form, state[name]))
  end
  redis.call('HSET', state.key, unpack(values))
  redis.call('PEXPIRE', state.key, config.keep_ms)
end

-- The first moment at which one more call fits. Who can come back leaves one call of the burst to who cannot.
local function free_at(state, is_urgent)
  local ahead = is_urgent and config.burst - 1 or config.burst - 2
  return math.max(state.blocked, state.due - ahead * state.spacing)
end

local function charge(state, is_urgent)
  -- It was asked for as soon as it was allowed, after somebody had to wait: only such a call says that the spacing holds.
  local is_paced = state.waited > 0 and now - free_at(state, is_urgent) <= state.spacing
  state.due = math.max(state.due, now) + state.spacing
  state.waited, state.last = 0, now
  return is_paced and 1 or 0
end

local function load_account()
  return load(account_key, config.base, given.held)
end

local function load_application()
  return load(application_key, 0, given.held_application)
end

local function ask()
  local is_urgent = given.kind == 'publish'
  local account, application = load_account(), load_application()
  if given.next_due then
    account.reserved = now + given.next_due
  end

  local moment, reason = now, ''
  local function not_before(at, why)
    if at > moment then
      moment, reason = at, why
    end
  end
  not_before(free_at(account, is_urgent), account.blocked > now and 'penalty' or 'spacing')
  not_before(free_at(application, is_urgent), 'application')
  if not is_urgent and account.reserved > 0 then
    local ahead = given.kind == 'stage' and math.max(account.spacing, config.stage) or account.spacing
    local until_when = account.reserved + math.max(account.spacing, config.reserve)
    if moment > account.reserved - ahead and moment < until_when then
      not_before(account.reserved + account.spacing, 'reserved')
      if now >= account.reserved + account.spacing then
        not_before(now + account.spacing, 'reserved') -- the work is late, and still comes first
      end
    end
  end

  if moment > now then
    if reason == 'spacing' then
      account.waited = 1
    elseif reason == 'application' then
      application.waited = 1
    end
    if is_urgent and (account.reserved < now or account.reserved > moment) then
      account.reserved = moment -- nobody else takes the place of who was told to come then
    end
    save(account)
    save(application)
    return { 0, moment, now, reason, 0, 0 }
  end
  local account_paced = charge(account, is_urgent)
  local application_paced = charge(application, is_urgent)
  if is_urgent and account.reserved - math.max(account.spacing, config.reserve) <= now then
    account.reserved = 0 -- this is what it was kept for
  end
  save(account)
  save(application)
  return { 1, now, now, '', account_paced, application_paced }
end

-- After a refusal the spacing that was accepted in truth is tried for a while, a little shorter towards its end, so that
-- what the pause has saved up is used in about one such while; if that goes well the limit has risen, or was never met.
local function shorten(state)
  if state.spacing == 0 then
    return
  end
  local gain
  if state.refused_at == 0 or state.progress >= 1 then
    gain = 0.6931 * math.min(1 / config.doubling_calls, state.spacing / config.doubling)
  else
    local while_tried =
      math.min(math.max(config.trial_pauses * state.pause, config.trial_calls * state.found), config.forget / 2)
    local step = state.spacing / while_tried
    state.progress = state.progress + step
    gain = 1.5 * state.pause / while_tried * step
  end
  state.spacing = math.max(state.base > 0 and config.least or config.least_application, floor(state.spacing * (1 - gain)))
end

local function accept(state, is_paced)
  state.all_accepted = state.all_accepted + 1
  if given.started < state.refused_at then
    return -- it was sent before the refusal and says nothing about what came after
  end
  if state.refused > 1 then
    -- A penalty doubles with every question inside it: the next one will be shorter than what ended this one.
    state.pause = math.max(floor(state.pause / 2 ^ (state.refused - 1)), config.factor * config.base)
  end
  state.refused = 0
  if state.base == 0 and state.refused_at == 0 and now - state.counted_since > config.count then
    if state.counted_since > 0 then
      state.rate_before = state.accepted * 1000000 / (now - state.counted_since)
    end
    state.counted_since, state.accepted, state.paced = now, 0, 0
  end
  state.accepted = state.accepted + 1
  if is_paced then
    state.paced = state.paced + 1
    shorten(state)
  end
end

-- Whether calls came as fast as they were let all the time, and not after a pause so long that it says most of it.
local function can_measure(state)
  if state.refused_at == 0 or state.paced < 0.8 * state.accepted then
    return false
  end
  return state.pause <= 4 * config.factor * math.max(config.base, state.spacing) or now - state.refused_at > 2 * state.pause
end

-- What was accepted since the last refusal, when there was nothing left either, is what the limit lets through.
local function lengthen(state)
  if state.spacing == 0 then -- an application that was open until now
    local counted = math.max(now - state.counted_since, 1000000)
    local rate = state.accepted / counted * 1000000
    if counted < 5000000 or state.counted_since == 0 then
      rate = math.max(rate, state.rate_before)
    end
    state.spacing = math.min(config.factor * 1000000 / rate, config.base) -- no calls yet: 1/0 is infinity
  elseif can_measure(state) then
    local elapsed, accepted = now - state.refused_at, state.accepted + 0.5
    local measured = elapsed / accepted
    if elapsed > 1.1 * state.pause and accepted > 2 * config.burst then
      -- In a long pause a small limiter has filled up and then gained nothing more.
      measured = math.min(measured, (elapsed - 1.05 * state.pause) / (accepted - 2 * config.burst))
    end
    if state.found > 1.25 * state.spacing then
      -- It was shortened a lot meanwhile: the average is that of the slow beginning.
      measured = math.min(measured, config.factor * state.spacing)
    end
    state.spacing = math.max(state.spacing, measured)
  else
    state.spacing = state.spacing * config.factor
  end
  state.spacing = math.min(floor(state.spacing), config.most)
end

local function refuse(state)
  state.all_refused = state.all_refused + 1
  if given.started < state.refused_at then
    -- Sent before the first of them was known: the same refusal once more.
    state.blocked = math.max(state.blocked, now + state.pause)
    return
  end
  state.refused = state.refused + 1
  if state.refused == 1 then
    lengthen(state)
    local learnt = state.refused_at > 0 and state.pause or 0
    state.pause = math.max(learnt, config.factor * math.max(config.base, state.spacing))
  elseif state.pause < config.most then
    -- Faster than a penalty that doubles with each question, or it would never be overtaken.
    state.pause = math.min(state.pause * 4, config.most)
  else
    state.pause = math.min(state.pause * 2, config.longest_pause)
  end
  local wait = floor(state.pause * (1 + 0.1 * given.chance))
  if given.retry_after then
    wait = math.max(given.retry_after, state.spacing)
  end
  state.found, state.progress = state.spacing, 0
  state.refused_at, state.accepted, state.paced = now, 0, 0
  state.blocked = math.max(state.blocked, now + wait)
  state.due = state.blocked + (config.burst - 1) * state.spacing
end

local function tell()
  local account, application = load_account(), load_application()
  if given.outcome == 'application_limited' then
    refuse(application)
  elseif given.outcome == 'limited' then
    refuse(account)
  else
    accept(account, given.paced)
    accept(application, given.application_paced)
  end
  save(account)
  save(application)
  return { 0, math.max(account.blocked, application.blocked, now), now, '', 0, 0 }
end

local function change()
  local account = load_account()
  if operation == 'reserve' then
    account.reserved = given.next_due and now + given.next_due or 0
  else -- hold
    account.blocked = math.max(account.blocked, now + given.for_time)
    account.due = math.max(account.due, account.blocked + (config.burst - 1) * account.spacing)
  end
  save(account)
  return { 0, free_at(account, true), now, '', 0, 0 }
end

-- As good as new, and remembered as that.
local function reset()
  local key, base = account_key, config.base
  if given.application then
    key, base = application_key, 0
  end
  redis.call('DEL', key)
  local state = load(key, base)
  state.due, state.last = 0, now
  save(state)
  return { 0, now, now, '', 0, 0 }
end

if operation == 'ask' then
  return ask()
elseif operation == 'tell' then
  return tell()
elseif operation == 'reset' then
  return reset()
end
return change()
