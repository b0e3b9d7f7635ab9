// The live view: asks /stats each second while it is seen, and draws the last minutes.
// The server counts since its start; speeds are differences over its own clock.

import { apiKey, stats } from './api.js';
import { LineChart, PoolTable } from './chart.js';
import { $, duration, el, isNumber, number } from './dom.js';

const EVERY_MS = 1000;
const AGAIN_MS = 3000; // after a failure
const SPAN_MS = 5 * 60 * 1000;

const times = (a, b) => `median ${a} ms, 95 % within ${b}`;

const CHARTS = [
  { title: 'Generation', unit: 'tokens per second', series: ['Generated'],
    say: (a) => `${a} tokens/s`, values: (s, r) => [r.generated] },
  { title: 'Prompts', unit: 'tokens per second', series: ['All', 'Taken from the cache'],
    say: (a, b) => `${a} tokens/s, ${b} cached`, values: (s, r) => [r.prompt, r.cached] },
  { title: 'Requests', unit: 'requests', series: ['Running', 'Waiting'], isWhole: true,
    say: (a, b) => `${a} running, ${b} waiting`,
    values: (s) => [s.requests.running, s.requests.waiting] },
  { title: 'First token', unit: 'milliseconds', series: ['Median', '95th percentile'],
    say: times, values: (s) => latency(s, 'first_token') },
  { title: 'Between tokens', unit: 'milliseconds', series: ['Median', '95th percentile'],
    say: times, values: (s) => latency(s, 'gap') },
].map((options) => ({ chart: new LineChart(options), values: options.values }));
const pools = new PoolTable();

let history = []; // {t, s, values: [of each chart]}
let timer = 0;
let abort = null;
let isOpen = false;
let onKey = null; // asks for a key; true if one was given

function latency(s, name) {
  const found = (s.latency_ms || {})[name] || {};
  return [found.p50 ?? null, found.p95 ?? null];
}

// Tokens per second since the sample before; null where there is none.
function rates(s, before) {
  const dt = before ? s.uptime_s - before.uptime_s : 0;
  const rate = (name) => (dt > 0 ? Math.max(0, (s.tokens[name] - before.tokens[name]) / dt) : null);
  return { generated: rate('generated'), prompt: rate('prompt'), cached: rate('cached') };
}

const percent = (part, all) => (all > 0 ? Math.round(100 * part / all) + ' %' : '–');

function tiles(s) {
  const r = s.requests;
  const t = s.tokens;
  return [['Running', number(r.running)], ['Waiting', number(r.waiting)], ['Done', number(r.done)],
    ['Failed', number(r.failed)], ['Cancelled', number(r.cancelled)],
    ['Connections', number(r.connections)], ['Tokens generated', number(t.generated)],
    ['Prompts from cache', percent(t.cached, t.prompt)],
    ['Drafts accepted', percent(t.accepted, t.drafted)]];
}

function setState(text, level) {
  const badge = $('server-state');
  if (badge.textContent !== text) badge.textContent = text; // spoken only when it changes
  badge.className = 'badge ' + level;
}

function take(s) {
  const before = history.at(-1);
  if (before && s.uptime_s < before.s.uptime_s) history = []; // the server began anew
  const r = rates(s, history.length ? before.s : null);
  history.push({ t: performance.now(), s, values: CHARTS.map((c) => c.values(s, r)) });
  const oldest = performance.now() - SPAN_MS - EVERY_MS;
  history = history.filter((h) => h.t >= oldest);
  setState(s.draining ? 'Draining' : 'Ready', s.draining ? 'warn' : 'good');
  $('server-about').textContent = [s.model, 'hadal ' + s.version,
    'up ' + duration(1000 * s.uptime_s)].join(' · ');
  showTiles(tiles(s));
  CHARTS.forEach(({ chart }, i) => (
    chart.show(history.map((h) => ({ t: h.t, values: h.values[i] })))));
  pools.show(s.pools || {}, s.tightest);
}

function showTiles(list) {
  const tile = ([name, value]) => (
    el('div', { class: 'tile' }, el('dt', null, name), el('dd', null, value)));
  if (!$('tiles').children.length) return $('tiles').append(...list.map(tile));
  list.forEach(([, value], i) => {
    const node = $('tiles').children[i].lastChild;
    if (node.textContent !== value) node.textContent = value;
  });
}

async function poll() {
  abort = new AbortController();
  let next = EVERY_MS;
  try {
    const s = await stats(abort.signal);
    if (!isOpen) return;
    if (!isNumber(s.uptime_s)) throw new Error('The statistics cannot be read.');
    take(s);
  } catch (error) {
    if (error.name === 'AbortError' || !isOpen) return;
    setState(error.message, 'bad');
    next = AGAIN_MS;
    if (error.status === 401) {
      const used = apiKey();
      if (!await onKey() || apiKey() === used) return;
      next = 0;
    }
  }
  if (isOpen) timer = setTimeout(poll, next);
}

function close() {
  isOpen = false;
  clearTimeout(timer);
  if (abort) abort.abort();
}

function open() {
  if (isOpen) return;
  isOpen = true;
  poll();
}

// Follow the view: it is asked for only while it is seen.
export function watch(isShown) {
  if (isShown && document.visibilityState === 'visible') open();
  else close();
}

export function wire(askKey) {
  onKey = askKey;
  $('charts').append(...CHARTS.map((c) => c.chart.node), pools.node);
}
