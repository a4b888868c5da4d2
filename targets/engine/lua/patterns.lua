-- Lua's patterns in Lua, after lstrlib.c of Lua 5.1. The functions in C can't be interrupted while
-- they try the ways in which a pattern may match; these can, as the bounds of a script count them.
-- Returns find and match, which take (text, pattern, first place, anchors allowed), find of a plain
-- text, foreach and foreachi.

local byte, char, sub, find = string.byte, string.char, string.sub, string.find
local error, next, setmetatable, unpack = error, next, setmetatable, unpack
local CAPTURES_MAX = 32
local OPEN, PLACE = -1, -2  -- instead of the end of a capture

-- Return a table from bytes to whether one item of a pattern, such as `a`, `%d` or `[^,]`, fits.
local function class_of(item)
  if #item == 1 and item ~= '.' then return {[byte(item)] = true} end
  return setmetatable({}, {__index = function(known, code)
    local fits = find(char(code), '^' .. item) ~= nil
    known[code] = fits
    return fits
  end})
end

-- Return the place after an item, or nil and what is wrong.
local function item_end(pattern, at)
  local first = sub(pattern, at, at)
  if first == '%' then
    if at == #pattern then return nil, "malformed pattern (ends with '%')" end
    return at + 2
  elseif first ~= '[' then
    return at + 1
  end
  at = at + 1
  if sub(pattern, at, at) == '^' then at = at + 1 end
  repeat
    if at > #pattern then return nil, "malformed pattern (missing ']')" end
    if sub(pattern, at, at) == '%' then at = at + 1 end
    at = at + 1
  until sub(pattern, at, at) == ']'
  return at + 1
end

-- Return the step at a place of a pattern, and the place after it. A malformed pattern is an error
-- only when it is tried.
local function parse_step(pattern, at)
  local first, second = sub(pattern, at, at), sub(pattern, at + 1, at + 1)
  if first == '(' and second == ')' then return {kind = 'place'}, at + 2 end
  if first == '(' then return {kind = 'open'}, at + 1 end
  if first == ')' then return {kind = 'close'}, at + 1 end
  if first == '$' and at == #pattern then return {kind = 'end'}, at + 1 end
  if first == '%' and second == 'b' then
    if at + 3 > #pattern then return {kind = 'wrong', why = 'unbalanced pattern'}, at + 4 end
    return {kind = 'balance', from = byte(pattern, at + 2), to = byte(pattern, at + 3)}, at + 4
  end
  local frontier = first == '%' and second == 'f'
  if frontier then
    at = at + 2
    if sub(pattern, at, at) ~= '[' then
      return {kind = 'wrong', why = "missing '[' after '%f' in pattern"}, at
    end
  elseif first == '%' and find(second, '^%d') then
    return {kind = 'back', number = byte(second) - 48}, at + 2
  end
  local after, why = item_end(pattern, at)
  if not after then return {kind = 'wrong', why = why}, #pattern + 1 end
  local class = class_of(sub(pattern, at, after - 1))
  if frontier then return {kind = 'frontier', class = class}, after end
  local times = sub(pattern, after, after)
  if find(times, '^[*+?-]') then
    return {kind = 'item', class = class, times = times}, after + 1
  end
  return {kind = 'item', class = class, times = ''}, after
end

local function parse(pattern)
  local steps, at = {}, 1
  while at <= #pattern do steps[#steps + 1], at = parse_step(pattern, at) end
  return steps
end

local try

local function try_item(m, i, at, step)
  local text, size, class, times = m.text, m.size, step.class, step.times
  if times == '' then
    if i <= size and class[byte(text, i)] then return try(m, i + 1, at + 1) end
    return nil
  elseif times == '?' then
    local after = i <= size and class[byte(text, i)] and try(m, i + 1, at + 1)
    return after or try(m, i, at + 1)
  elseif times == '-' then
    while true do
      local after = try(m, i, at + 1)
      if after then return after end
      if i > size or not class[byte(text, i)] then return nil end
      i = i + 1
    end
  end
  local last = i
  while last <= size and class[byte(text, last)] do last = last + 1 end
  for place = last, times == '+' and i + 1 or i, -1 do
    local after = try(m, place, at + 1)
    if after then return after end
  end
  return nil
end

local function try_balance(m, i, at, step)
  local text, depth = m.text, 1
  if byte(text, i) ~= step.from then return nil end
  for place = i + 1, m.size do
    local code = byte(text, place)
    if code == step.to then
      depth = depth - 1
      if depth == 0 then return try(m, place + 1, at + 1) end
    elseif code == step.from then
      depth = depth + 1
    end
  end
  return nil
end

local function try_capture(m, i, at, kind)
  if kind == 'close' then
    local number = m.level
    while number > 0 and m.stops[number] ~= OPEN do number = number - 1 end
    if number == 0 then error('invalid pattern capture', 0) end
    m.stops[number] = i
    local after = try(m, i, at + 1)
    if not after then m.stops[number] = OPEN end
    return after
  end
  if m.level == CAPTURES_MAX then error('too many captures', 0) end
  m.level = m.level + 1
  m.starts[m.level], m.stops[m.level] = i, kind == 'place' and PLACE or OPEN
  local after = try(m, i, at + 1)
  if not after then m.level = m.level - 1 end
  return after
end

local function try_back(m, i, at, step)
  local number = step.number
  if number < 1 or number > m.level or m.stops[number] == OPEN then
    error('invalid capture index', 0)
  end
  if m.stops[number] == PLACE then return nil end
  local captured = sub(m.text, m.starts[number], m.stops[number] - 1)
  if sub(m.text, i, i + #captured - 1) ~= captured then return nil end
  return try(m, i + #captured, at + 1)
end

-- Match the steps from number `at` at place `i`; return the place after the match, or nil.
try = function(m, i, at)
  local step = m.steps[at]
  if not step then return i end
  local kind = step.kind
  if kind == 'item' then return try_item(m, i, at, step) end
  if kind == 'end' then return i > m.size and i or nil end
  if kind == 'wrong' then error(step.why, 0) end
  if kind == 'balance' then return try_balance(m, i, at, step) end
  if kind == 'back' then return try_back(m, i, at, step) end
  if kind ~= 'frontier' then return try_capture(m, i, at, kind) end
  local before, here = byte(m.text, i - 1) or 0, byte(m.text, i) or 0
  if i == 1 then before = 0 end
  if step.class[before] or not step.class[here] then return nil end
  return try(m, i, at + 1)
end

-- Return the captures of a match, or the whole match if it has none and that is wanted.
local function captures(m, i, after, whole)
  if m.level == 0 and whole then return sub(m.text, i, after - 1) end
  local found = {}
  for number = 1, m.level do
    local start, stop = m.starts[number], m.stops[number]
    if stop == OPEN then error('unfinished capture', 0) end
    found[number] = stop == PLACE and start or sub(m.text, start, stop - 1)
  end
  return unpack(found, 1, m.level)
end

-- Return the state of the first match from a place on, its first place, and the place after it.
local function search(text, pattern, first, anchors)
  pattern = sub(pattern, 1, (find(pattern, '%z') or 0) - 1)  -- as in C, where it ends at a zero
  local anchored = anchors and sub(pattern, 1, 1) == '^'
  if anchored then pattern = sub(pattern, 2) end
  local m = {text = text, size = #text, steps = parse(pattern), level = 0, starts = {}, stops = {}}
  for i = first, anchored and first or #text + 1 do
    m.level = 0
    local after = try(m, i, 1)
    if after then return m, i, after end
  end
  return nil
end

-- Find a text by its parts of at most PART bytes, each of which takes few steps in C.
local PART = 64
local function find_long(text, long, first)
  local place = first
  while true do
    local at = find(text, sub(long, 1, PART), place, true)
    if not at or at + #long - 1 > #text then return nil end
    local done = PART
    while done < #long and sub(text, at + done, at + done + PART - 1) == sub(long, done + 1,
        done + PART) do
      done = done + PART
    end
    if done >= #long then return at, at + #long - 1 end
    place = at + 1
  end
end

local function find_pattern(text, pattern, first, anchors)
  if not find(pattern, '[%^$*+?.(%[%%-]') then return find_long(text, pattern, first) end
  local m, i, after = search(text, pattern, first, anchors)
  if not m then return nil end
  return i, after - 1, captures(m, i, after, false)
end

-- Return the captures of the first match, after its first place and the place after it.
local function match_pattern(text, pattern, first, anchors)
  local m, i, after = search(text, pattern, first, anchors)
  if not m then return nil end
  return i, after, captures(m, i, after, true)
end

local function foreach(list, f)
  for key, value in next, list do
    local result = f(key, value)
    if result ~= nil then return result end
  end
end

local function foreachi(list, f)
  for i = 1, #list do
    local result = f(i, list[i])
    if result ~= nil then return result end
  end
end

return find_pattern, match_pattern, find_long, foreach, foreachi
