-- Replaces the functions of Lua that may take long within C by such that account for their work
-- first. Takes how many steps a pattern may take in C, spend, and what patterns.lua returns.

local steps_max, spend, find_pattern, match_pattern, find_long, foreach, foreachi = ...
local string, table, type, error, pcall, unpack = string, table, type, error, pcall, unpack
local select, tostring, tonumber, getinfo = select, tostring, tonumber, debug.getinfo
local byte, sub, find, gsub, rep, format = string.byte, string.sub, string.find, string.gsub,
  string.rep, string.format
local maxn, insert, remove, concat, sort = table.maxn, table.insert, table.remove, table.concat,
  table.sort
local BYTES = 16  -- that are worth an instruction

-- Raise the error of a function in C, at the place of the script that called it.
local function complain(name, why)
  if type(why) ~= 'string' or find(why, '^user_script:%d+: ') then error(why, 0) end
  local at, level = nil, 2
  repeat at, level = getinfo(level, 'Sl'), level + 1 until not at or at.source == '@user_script'
  local place = at and 'user_script:' .. at.currentline .. ': ' or ''
  error(place .. gsub(why, "'%?'", "'" .. name .. "'"), 0)
end

local function refuse(name, f, ...)
  local _, why = pcall(f, ...)
  complain(name, why)
end

-- Return the results of a protected call, or raise its error.
local function results(name, done, ...)
  if not done then complain(name, (...)) end
  return ...
end

local function is_text(value) return type(value) == 'string' or type(value) == 'number' end

for _, name in ipairs({'upper', 'lower', 'reverse'}) do
  local f = string[name]
  string[name] = function(...)
    local text = ...
    if not is_text(text) then refuse(name, f, ...) end
    spend(#tostring(text) / BYTES, #tostring(text))
    return f(text)
  end
end

function string.rep(...)
  local text, count = ...
  count = tonumber(count)
  if not is_text(text) or not count then refuse('rep', rep, ...) end
  local size = #tostring(text) * count
  if not (size > 0) then return '' end
  spend(size / BYTES + count, size)
  return rep(text, count)
end

function string.format(...)
  local size = 0
  for i = 1, select('#', ...) do
    local word = select(i, ...)
    if type(word) == 'string' then size = size + #word end
  end
  spend(size / BYTES, 2 * size)
  return results('format', pcall(format, ...))
end

function string.byte(...)
  local text, first, last = ...
  if is_text(text) and type(last) == 'number' then
    local size = #tostring(text)
    spend(last < 0 and size or math.min(size, last))
  end
  return results('byte', pcall(byte, ...))
end

function table.concat(...)
  local list, between = ...
  if type(list) ~= 'table' then refuse('concat', concat, ...) end
  local size, count = 0, #list
  spend(count)
  for i = 1, count, math.ceil(count / 100 + 1) do  -- a sample: the exact size takes as long
    size = size + (type(list[i]) == 'string' and #list[i] or 8)
  end
  size = size * math.ceil(count / 100 + 1) + count * (is_text(between) and #tostring(between) or 0)
  spend(size / BYTES, size)
  return results('concat', pcall(concat, ...))
end

function table.insert(...)
  local list = ...
  if type(list) == 'table' and select('#', ...) > 2 then spend(#list) end
  results('insert', pcall(insert, ...))
end

function table.remove(...)
  local list = ...
  if type(list) == 'table' and select('#', ...) > 1 then spend(#list) end
  return results('remove', pcall(remove, ...))
end

function table.maxn(...)
  local list = ...
  if type(list) ~= 'table' then refuse('maxn', maxn, ...) end
  local greatest = maxn(list)
  spend(#list)
  return greatest
end

function table.sort(...)
  local list = ...
  if type(list) == 'table' then spend(#list * 20) end
  results('sort', pcall(sort, ...))
end

table.foreach, table.foreachi = foreach, foreachi

-- Return whether a pattern may take more than steps_max steps in C: each repetition may try every
-- length, each option both ways, and a pattern without anchor every place. A greedy repetition at
-- the end, or the only one in an anchored pattern, tries nothing again. Each step may look at the
-- whole pattern: at one long class, or at letters up to the first that does not fit.
local function may_take_long(text, pattern, anchors)
  local size = #text
  local simple = find(pattern, '^[^*+?%-]*[*+]$') and not find(pattern, '%%b')
  if simple then return (size + 1) * #pattern > steps_max end
  local _, repeated = gsub(pattern, '[*+-]', '')
  local _, balanced = gsub(pattern, '%%b', '')
  local _, optional = gsub(pattern, '?', '')
  local anchored = anchors and byte(pattern, 1) == 94
  local tries = (size + 1) ^ (repeated + balanced + (anchored and 0 or 1)) * 2 ^ optional
  return tries * math.max(#pattern, 1) > steps_max
end

local function first_place(text, init)
  init = tonumber(init) or 1
  if init < 0 then init = math.max(#text + init + 1, 1) elseif init == 0 then init = 1 end
  return math.min(init, #text + 1)
end

local function captured(first, after, ...) return ... end

-- Find a text: in C, which compares #text * #pattern bytes at most, many of them at once, or in Lua.
local function find_plain(text, pattern, init)
  if #text * #pattern <= steps_max * 64 then
    spend(#text * #pattern / 1024)
    return find(text, pattern, init, true)
  end
  return find_long(text, pattern, first_place(text, init))
end

for name, f in pairs({find = find, match = string.match}) do
  string[name] = function(...)
    local text, pattern, init, plain = ...
    if not is_text(text) or not is_text(pattern) then refuse(name, f, ...) end
    text, pattern = tostring(text), tostring(pattern)
    spend(#text / BYTES)
    if name == 'find' and plain then
      return find_plain(text, pattern, init)
    elseif not may_take_long(text, pattern, true) then
      return results(name, pcall(f, text, pattern, init))
    elseif name == 'find' then
      return results(name, pcall(find_pattern, text, pattern, first_place(text, init), true))
    end
    return captured(results(name, pcall(match_pattern, text, pattern, first_place(text, init),
      true)))
  end
end

local gmatch = string.gmatch
string.gfind = function(...) return string.gmatch(...) end  -- its name in Lua 5.0
function string.gmatch(...)
  local text, pattern = ...
  if not is_text(text) or not is_text(pattern) then refuse('gmatch', gmatch, ...) end
  text, pattern = tostring(text), tostring(pattern)
  spend(#text / BYTES)
  if not may_take_long(text, pattern, false) then return gmatch(text, pattern) end
  local place = 1
  local function next_match(i, after, ...)
    if not i then return nil end
    place = after == i and after + 1 or after
    return ...
  end
  return function()
    if place > #text + 1 then return nil end
    return next_match(results('gmatch', pcall(match_pattern, text, pattern, place, false)))
  end
end

-- Return what replaces a match, as in add_value of lstrlib.c.
local function replacement(with, whole, ...)
  local kind, first = type(with), ...
  local value
  if kind == 'table' then
    value = with[first]
  elseif kind == 'function' then
    value = with(...)
  else
    local captured = {...}
    value = gsub(with, '%%(.?)', function(c)
      if not find(c, '^%d') then return c end
      if c == '0' then return whole end
      local number = tonumber(c)
      if number > #captured then error('invalid capture index', 0) end
      return tostring(captured[number])
    end)
  end
  if not value then return whole end
  if not is_text(value) then error('invalid replacement value (a ' .. type(value) .. ')', 0) end
  return tostring(value)
end

local function substitute(text, pattern, with, most)
  local anchored = sub(pattern, 1, 1) == '^'
  local parts, place, count = {}, 1, 0
  local function one(i, after, ...)
    if not i then return nil end
    parts[#parts + 1] = sub(text, place, i - 1)
    parts[#parts + 1] = replacement(with, sub(text, i, after - 1), ...)
    count = count + 1
    if after == i then
      parts[#parts + 1] = sub(text, i, i)
      after = after + 1
    end
    return after
  end
  while count < most and place <= #text + 1 do
    local after = one(match_pattern(text, pattern, place, true))
    if not after then break end
    place = after
    if anchored then break end
  end
  parts[#parts + 1] = sub(text, place)
  return concat(parts), count
end

function string.gsub(...)
  local text, pattern, with, most = ...
  local kind = type(with)
  if not is_text(text) or not is_text(pattern) or not (is_text(with) or kind == 'table'
      or kind == 'function') or not (most == nil or tonumber(most)) then
    refuse('gsub', gsub, ...)
  end
  text, pattern = tostring(text), tostring(pattern)
  spend(#text / BYTES)
  local changed, count
  local long = is_text(with) and #tostring(with) * (#text + 1) > steps_max
  if long or may_take_long(text, pattern, true) then
    changed, count = results('gsub', pcall(substitute, text, pattern, with, tonumber(most)
      or math.huge))
  else
    changed, count = results('gsub', pcall(gsub, text, pattern, with, most))
  end
  spend(#changed / BYTES + count)
  return changed, count
end
