// Markdown to DOM nodes, for text that nobody has vouched for.
//
// Every character of the source ends up in a text node, or in the href of a link that was parsed
// and found to be http or https. Raw HTML is text, images become links: nothing is fetched.
// Searches for a closing mark are bounded or never repeated, nesting stops at MAX_DEPTH: hostile
// text costs time in proportion to its length.

import { copyButton, el } from './dom.js';

const MAX_DEPTH = 6;
const MAX_LINK_TEXT = 500;
const MAX_MARKED_LINE = 2000; // a longer line is neither a heading nor a row of a table

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(\s+|$)/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

// ---- inline ----

const SPECIAL = /[\\`*_~[<]|!\[|\$\$|https?:\/\//g;
const ESCAPED = /[\\`*_{}[\]()#+\-.!|~<>]/;
const ADDRESS = /https?:\/\/[^\s<>"'`]{1,2000}/y;
const TARGET = /\]\(\s*<?([^\s<>()]{1,2000}(?:\([^\s<>()]{0,200}\)[^\s<>()]{0,200})?)>?(?:\s+"[^"]{0,300}")?\s*\)/y;
const isWord = (c) => c !== undefined && /[\p{L}\p{N}]/u.test(c);
const isSpace = (c) => c === undefined || /\s/.test(c);

function link(address, children) {
  let url;
  try { url = new URL(address); } catch { return null; }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return null;
  return el('a', { href: url.href, title: url.href, target: '_blank', rel: 'noopener noreferrer' },
    ...children);
}

// Where the mark that closes the one before `from` begins, or -1. A search that fails would fail
// from every later place too, so it is never made again (`dead`).
function closing(text, mark, from, dead) {
  if (dead.has(mark)) return -1;
  for (let at = text.indexOf(mark, from); at >= 0; at = text.indexOf(mark, at + 1)) {
    if (at === from || isSpace(text[at - 1])) continue;
    if (mark[0] === '_' && isWord(text[at + mark.length])) continue;
    if (mark.length === 1 && (text[at + 1] === mark || text[at - 1] === mark)) continue;
    return at;
  }
  dead.add(mark);
  return -1;
}

function codeSpan(text, at, dead) {
  let n = 1;
  while (text[at + n] === '`') n++;
  const mark = '`'.repeat(n);
  if (dead.has(mark)) return { end: at + n };
  for (let to = text.indexOf(mark, at + n); to >= 0; to = text.indexOf(mark, to)) {
    let m = n;
    while (text[to + m] === '`') m++;
    if (m === n) {
      const inside = text.slice(at + n, to).replace(/\n/g, ' ');
      const isPadded = inside.startsWith(' ') && inside.endsWith(' ') && inside.trim() !== '';
      return { end: to + n, node: el('code', null, isPadded ? inside.slice(1, -1) : inside) };
    }
    to += m;
  }
  dead.add(mark);
  return { end: at + n };
}

function linkSpan(text, at, depth) {
  const open = text[at] === '!' ? at + 2 : at + 1;
  const middle = text.slice(open, open + MAX_LINK_TEXT).indexOf('](');
  if (middle < 0) return { end: open };
  TARGET.lastIndex = open + middle;
  const target = TARGET.exec(text);
  if (!target) return { end: open };
  const words = text.slice(open, open + middle) || target[1];
  const node = link(target[1], inline(words, depth + 1, true));
  return node ? { end: TARGET.lastIndex, node } : { end: open };
}

function addressSpan(text, at) {
  const isBracketed = text[at] === '<';
  ADDRESS.lastIndex = at + (isBracketed ? 1 : 0);
  const found = ADDRESS.exec(text);
  if (!found) return { end: at + 1 };
  let words = found[0];
  if (isBracketed) {
    if (text[ADDRESS.lastIndex] !== '>') return { end: at + 1 };
  } else {
    words = words.replace(/[.,;:!?*_~\])}]+$/, '');
  }
  const node = link(words, [words]);
  if (!node) return { end: at + words.length };
  return { end: at + words.length + (isBracketed ? 2 : 0), node };
}

// Formulas are shown as they are written; nothing in them is markup.
const FORMULA = { '\\(': '\\)', '\\[': '\\]', '$$': '$$' };

function formula(text, at, dead) {
  const open = text.slice(at, at + 2);
  const close = FORMULA[open];
  const to = close && !dead.has(open) ? text.indexOf(close, at + 2) : -1;
  if (to >= 0) return { end: to + 2, node: el('span', { class: 'formula' }, text.slice(at, to + 2)) };
  dead.add(open);
  if (open[0] === '\\' && ESCAPED.test(open[1])) return { end: at + 2, node: open[1] };
  return { end: at + (open === '$$' ? 2 : 1) };
}

const EMPHASIS = { '**': 'strong', '__': 'strong', '*': 'em', '_': 'em', '~~': 'del' };

function emphasis(text, at, depth, dead, inLink) {
  const two = text.slice(at, at + 2);
  const mark = EMPHASIS[two] ? two : text[at];
  const start = at + mark.length;
  if (!EMPHASIS[mark] || isSpace(text[start])) return { end: start };
  if (mark[0] === '_' && isWord(text[at - 1])) return { end: start };
  const to = closing(text, mark, start, dead);
  if (to < 0) return { end: start };
  const inside = inline(text.slice(start, to), depth + 1, inLink);
  return { end: to + mark.length, node: el(EMPHASIS[mark], null, ...inside) };
}

function span(text, at, depth, dead, inLink) {
  switch (text[at]) {
    case '\\': case '$': return formula(text, at, dead);
    case '`': return codeSpan(text, at, dead);
    case '[': case '!': return inLink ? { end: at + 1 } : linkSpan(text, at, depth);
    case '<': case 'h': return inLink ? { end: at + 1 } : addressSpan(text, at);
    default: return emphasis(text, at, depth, dead, inLink);
  }
}

// Nodes and strings for a piece of running text.
export function inline(text, depth = 0, inLink = false) {
  if (depth > MAX_DEPTH) return [text];
  const out = [];
  const dead = new Set();
  let plain = 0;
  const special = new RegExp(SPECIAL);
  for (let m = special.exec(text); m; m = special.exec(text)) {
    const { end, node } = span(text, m.index, depth, dead, inLink);
    if (node !== undefined) {
      if (m.index > plain) out.push(text.slice(plain, m.index));
      out.push(node);
      plain = end;
    }
    special.lastIndex = end;
  }
  if (plain < text.length) out.push(text.slice(plain));
  return out;
}

// ---- blocks: each takes lines[at …] and gives {end, render} ----

function fenceBlock(lines, at) {
  const [, mark, language] = FENCE.exec(lines[at]);
  const close = new RegExp('^ {0,3}' + mark[0] + '{' + mark.length + ',}\\s*$');
  let end = at + 1;
  while (end < lines.length && !close.test(lines[end])) end++;
  const code = lines.slice(at + 1, end).join('\n');
  const name = language ? 'Code, ' + language : 'Code';
  return {
    end: Math.min(end + 1, lines.length),
    render: () => el('div', { class: 'code' },
      el('div', { class: 'code-head' }, el('span', null, language || 'text'),
        copyButton('Copy code', () => code)),
      el('pre', { tabindex: '0', role: 'region', 'aria-label': name }, el('code', null, code))),
  };
}

function quoteBlock(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end++;
  const inside = lines.slice(at, end).map((l) => l.replace(QUOTE, ''));
  return { end, render: () => el('blockquote', null, ...renderLines(inside, depth + 1)) };
}

function cells(line) {
  const row = line.trim().replace(/^\|/, '').replace(/\|$/, '');
  return row.split(/(?<!\\)\|/).map((c) => c.trim().replace(/\\\|/g, '|'));
}

function isTable(lines, at) {
  const isShort = lines[at].length + (lines[at + 1] || '').length < MAX_MARKED_LINE;
  return isShort && lines[at].includes('|') && at + 1 < lines.length && lines[at + 1].includes('-') &&
    TABLE_RULE.test(lines[at + 1]) && cells(lines[at]).length === cells(lines[at + 1]).length;
}

function tableBlock(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes('|')) end++;
  const sides = cells(lines[at + 1]).map((c) => {
    if (!c.endsWith(':')) return undefined;
    return c.startsWith(':') ? 'center' : 'end';
  });
  const row = (line, tag) => {
    const found = cells(line);
    return el('tr', null, ...sides.map((side, i) => el(tag,
      { class: side, scope: tag === 'th' ? 'col' : undefined }, ...inline(found[i] || ''))));
  };
  return {
    end,
    render: () => el('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Table' },
      el('table', null, el('thead', null, row(lines[at], 'th')),
        el('tbody', null, ...lines.slice(at + 2, end).map((l) => row(l, 'td'))))),
  };
}

function listBlock(lines, at, depth) {
  const [, indent, bullet] = ITEM.exec(lines[at]);
  const isOrdered = /\d/.test(bullet);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const line = lines[end];
    const item = ITEM.exec(line);
    const isOurs = item && item[1].length <= indent.length + 1 && /\d/.test(item[2]) === isOrdered &&
      !RULE.test(line);
    const lead = line.length - line.trimStart().length;
    if (isOurs) {
      items.push([line.slice(item[0].length)]);
    } else if (line.trim() === '') {
      const next = lines[end + 1];
      const goesOn = next !== undefined && (ITEM.test(next) || /^ {2,}\S/.test(next));
      if (!goesOn) break;
      items.at(-1).push('');
    } else if (lead > indent.length || (lines[end - 1].trim() !== '' && !startsBlock(lines, end))) {
      items.at(-1).push(line.slice(Math.min(lead, indent.length + bullet.length + 1)));
    } else {
      break;
    }
    end++;
  }
  return {
    end,
    render: () => el(isOrdered ? 'ol' : 'ul',
      { start: isOrdered && parseInt(bullet, 10) !== 1 ? parseInt(bullet, 10) : undefined },
      ...items.map((i) => el('li', null, ...itemNodes(i, depth + 1)))),
  };
}

// An item that is one paragraph needs no <p>.
function itemNodes(lines, depth) {
  const nodes = renderLines(lines, depth);
  if (nodes.length && nodes[0].tagName === 'P') nodes.splice(0, 1, ...nodes[0].childNodes);
  return nodes;
}

function startsBlock(lines, at) {
  const line = lines[at];
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) ||
    ITEM.test(line) || isTable(lines, at);
}

function paragraph(lines, at, isPlain) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() !== '' && (isPlain || !startsBlock(lines, end))) {
    end++;
  }
  const text = lines.slice(at, end).join('\n').trim();
  return { end, render: () => el('p', null, ...(isPlain ? [text] : inline(text))) };
}

function block(lines, at, depth) {
  const line = lines[at];
  if (depth > MAX_DEPTH) return paragraph(lines, at, true);
  if (FENCE.test(line)) return fenceBlock(lines, at);
  const heading = HEADING.exec(line);
  if (heading && line.length < MAX_MARKED_LINE) {
    const level = Math.min(heading[1].length + 2, 6); // h1 is the page's, h2 the message's
    const words = heading[2].replace(/\s+#+\s*$/, '');
    return { end: at + 1, render: () => el('h' + level, null, ...inline(words)) };
  }
  if (RULE.test(line)) return { end: at + 1, render: () => el('hr') };
  if (QUOTE.test(line)) return quoteBlock(lines, at, depth);
  if (ITEM.test(line)) return listBlock(lines, at, depth);
  if (isTable(lines, at)) return tableBlock(lines, at);
  return paragraph(lines, at, false);
}

function* blocks(lines, depth) {
  for (let at = 0; at < lines.length;) {
    if (lines[at].trim() === '') {
      at++;
      continue;
    }
    const found = block(lines, at, depth);
    yield { raw: lines.slice(at, found.end).join('\n'), render: found.render };
    at = found.end;
  }
}

function renderLines(lines, depth) {
  return [...blocks(lines, depth)].map((b) => b.render());
}

const sources = new WeakMap(); // of the nodes of top-level blocks

// Show `text` in `container`. Blocks that are there already and have not changed stay as they are,
// so that a growing answer costs little and a selection in it survives.
export function renderInto(container, text) {
  let node = container.firstElementChild;
  for (const { raw, render } of blocks(text.replace(/\r\n?/g, '\n').split('\n'), 0)) {
    if (node && sources.get(node) === raw) {
      node = node.nextElementSibling;
      continue;
    }
    const made = render();
    sources.set(made, raw);
    if (node) {
      const next = node.nextElementSibling;
      node.replaceWith(made);
      node = next;
    } else {
      container.append(made);
    }
  }
  while (node) {
    const next = node.nextElementSibling;
    node.remove();
    node = next;
  }
}
