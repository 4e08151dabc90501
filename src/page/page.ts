import { MINUTES, quantile, type Calls, type Minute } from '../observe/activity.ts'
import type { Facts, FindingFacts } from './facts.ts'
import { bar, chart, type Series } from './charts.ts'
import { html, Html } from './html.ts'
import { buckets, checks, findings, integrity, keys, pill, section, stores, workers } from './sections.ts'
import { style } from './style.ts'
import { bytes, clock, duration, many, numbered, share, span } from './words.ts'

/** Error codes that are listed, most frequent first. */
const MOST_CODES = 20

/** The whole page. @param refreshed whether the browser loads it again by itself. */
export function pageOf(facts: Facts, refreshed: boolean): string {
  const { findings: found, leftOut, at, version, uptimeSeconds, node, host } = facts
  const count = (wanted: FindingFacts['severity']): number => found.filter(({ severity }) => severity === wanted).length
  const [errors, warnings] = [count('error'), count('warning')]
  const words = errors + warnings === 0
    ? ''
    : `, ${[[errors, 'error'] as const, [warnings, 'warning'] as const].flatMap(([n, noun]) => n === 0 ? [] : [numbered(n, noun)]).join(', ')}`
  const state = pill(!facts.ready || errors > 0 ? 'bad' : warnings > 0 ? 'warn' : 'good', `${facts.ready ? 'ready' : 'not ready'}${words}`)
  const title = `${facts.ready ? '' : '✕ not '}ready${words}`
  const more = (list: string): number => leftOut[list] ?? 0
  const body = html`<header><h1>Sealgate</h1>${state}<p class="soft">On ${host}, version ${version}, up ${
    span(uptimeSeconds)
  }, Node ${node}. As of <time datetime="${at}">${clock(at)}</time>.</p><p>${
    refreshed ? html`<a href="?refresh=off">Stop refreshing</a>` : html`<a href="./">Refresh automatically</a>`
  }</p></header><main>${[
    section('What needs attention', findings(found, at)),
    section('The last hour', html`${tiles(facts)}<div class="grid halves">${charts(facts)}</div>${codes(facts)}`),
    section('Readiness', checks(facts.checks, at), more('checks')),
    section('Workers', workers(facts.workers, at), more('workers')),
    section('Keys', keys(facts.keys, at), more('keys')),
    section('Buckets', buckets(facts.buckets, facts.scans, at), more('buckets') + more('scans')),
    section('Stores', stores(facts.stores), more('stores')),
    section('Integrity failures', integrity(facts))
  ]}</main><footer><p>This page changes nothing. The same as JSON: <a href="status.json">status.json</a>. Metrics: <a href="metrics">metrics</a>.</p></footer>`
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<title>${title} – Sealgate on ${host}</title><link rel="icon" href="data:,"><style>${new Html(style)}</style></head><body>${body}</body></html>
`.toString()
}

/** One entry for each of the last minutes; null: nothing happened in it. */
function hour({ activity: { minutes }, at }: Facts): readonly (Minute | null)[] {
  const now = Math.floor(Date.parse(at) / 60_000)
  return Array.from({ length: MINUTES }, (_, i) => minutes.find(({ minute }) => minute === now - MINUTES + 1 + i) ?? null)
}

function requestsOf(minute: Minute | null, classes: readonly string[]): number {
  return classes.reduce((sum, name) => sum + (minute?.requests[name] ?? 0), 0)
}

const good = ['1xx', '2xx', '3xx'] as const
const ofClients = ['4xx'] as const
const ofServers = ['5xx', 'none'] as const

function sum(values: readonly number[]): number {
  return values.reduce((whole, value) => whole + value, 0)
}

function durationsOf(minutes: readonly (Minute | null)[]): readonly number[] {
  const [first, ...others] = minutes.flatMap((minute) => minute === null ? [] : [minute.durations])
  return others.reduce((all, one) => all.map((value, i) => value + (one[i] ?? 0)), first ?? [])
}

function tiles(facts: Facts): Html {
  const minutes = hour(facts)
  const all = sum(minutes.map((minute) => requestsOf(minute, [...good, ...ofClients, ...ofServers])))
  const failed = sum(minutes.map((minute) => requestsOf(minute, ofServers)))
  const slow = quantile(durationsOf(minutes), 0.99)
  const left = facts.certificateEnds === null ? null : facts.certificateEnds - Date.parse(facts.at) / 1000
  const inFlight = sum(facts.workers.map(({ load }) => load?.requestsInFlight ?? 0))
  const tile = (name: string, value: string, more = ''): Html =>
    html`<div class="card"><dt>${name}</dt><dd>${value} <small class="soft">${more}</small></dd></div>`
  return html`<dl class="tiles">${[
    tile('Requests', many(all)),
    tile('Server errors', many(failed), failed === 0 ? '' : share(failed, all)),
    tile('99 % within', slow === null ? '–' : duration(slow)),
    tile('In flight now', many(inFlight)),
    tile('Certificate', left === null ? 'no TLS' : left < 0 ? 'expired' : span(left)),
    tile('Audit file', facts.auditFailure !== null ? 'not written' : facts.audited ? 'written' : 'none')
  ]}</dl>`
}

function charts(facts: Facts): Html[] {
  const minutes = hour(facts)
  const series = (name: string, colour: Series['colour'], value: (minute: Minute) => number | null): Series => ({
    name,
    colour,
    values: minutes.map((minute) => minute === null ? null : value(minute))
  })
  const total = (value: (minute: Minute) => number): number => sum(minutes.map((minute) => minute === null ? 0 : value(minute)))
  const average = ({ calls, seconds }: Calls): number | null => calls === 0 ? null : seconds / calls
  const of = (service: 'store' | 'kms'): string => {
    const calls = total((minute) => minute[service].calls)
    return calls === 0 ? 'not called' : `${many(calls)} calls, ${duration(total((minute) => minute[service].seconds) / calls)} on average`
  }
  const [median, slow] = [quantile(durationsOf(minutes), 0.5), quantile(durationsOf(minutes), 0.99)]
  return [
    chart({
      title: 'Requests per minute',
      summary: `${many(total((minute) => requestsOf(minute, good)))} good, ${
        many(total((minute) => requestsOf(minute, ofClients)))
      } with an error of the client, ${many(total((minute) => requestsOf(minute, ofServers)))} with one of the server.`,
      kind: 'bars',
      words: many,
      series: [
        series('2xx, 3xx', 'a', (minute) => requestsOf(minute, good)),
        series('4xx', 'b', (minute) => requestsOf(minute, ofClients)),
        series('5xx', 'c', (minute) => requestsOf(minute, ofServers))
      ]
    }),
    chart({
      title: 'Bodies per minute',
      summary: `${bytes(total(({ bytesIn }) => bytesIn))} from clients, ${bytes(total(({ bytesOut }) => bytesOut))} to them.`,
      kind: 'lines',
      words: bytes,
      series: [series('from clients', 'a', ({ bytesIn }) => bytesIn), series('to clients', 'b', ({ bytesOut }) => bytesOut)]
    }),
    chart({
      title: 'Duration of requests',
      summary: median === null || slow === null ? 'No requests.' : `Half within ${duration(median)}, 99 % within ${duration(slow)}, bodies included.`,
      kind: 'lines',
      words: duration,
      series: [series('median', 'a', ({ durations }) => quantile(durations, 0.5)), series('99 %', 'b', ({ durations }) => quantile(durations, 0.99))]
    }),
    chart({
      title: 'Answers of store and key service',
      summary: `Store: ${of('store')}. Key service: ${of('kms')}.`,
      kind: 'lines',
      words: duration,
      series: [series('store', 'a', ({ store }) => average(store)), series('key service (KMS)', 'b', ({ kms }) => average(kms))]
    })
  ]
}

function codes(facts: Facts): Html {
  const counts = new Map<string, number>()
  for (const minute of hour(facts)) for (const [code, count] of Object.entries(minute?.codes ?? {})) counts.set(code, (counts.get(code) ?? 0) + count)
  const rows = [...counts].toSorted(([, a], [, b]) => b - a)
  const all = sum(rows.map(([, count]) => count))
  const shown = rows.slice(0, MOST_CODES)
  const rest = rows.slice(MOST_CODES)
  return html`<div class="card errors"><h3>Error codes</h3>${
    rows.length === 0
      ? html`<p class="soft">No request was answered with an error.</p>`
      : html`<ul class="rows">${
        shown.map(([code, count]) =>
          html`<li><span class="mono">${code}</span><span class="num">${many(count)}</span>${
            bar(`${code}: ${share(count, all)} of all errors`, [{ name: code, value: count, colour: 'other' }, {
              name: 'others',
              value: all - count,
              colour: 'none'
            }])
          }</li>`
        )
      }</ul>`
  }${rest.length === 0 ? null : html`<p class="soft">${many(sum(rest.map(([, count]) => count)))} with ${rest.length} other codes.</p>`}</div>`
}
