import { html, type Html } from './html.ts'
import type { BucketFacts, CapabilityFacts, CheckFacts, Facts, FindingFacts, KeyFacts, ScanFacts, StoreFacts, WorkerFacts } from './facts.ts'
import { bar, type Slice } from './charts.ts'
import { bytes, clock, many, numbered, secondsSince, share, span } from './words.ts'

type Tone = 'good' | 'bad' | 'warn' | ''

export function pill(tone: Tone, text: string): Html {
  const sign = { good: '✓ ', bad: '✕ ', warn: '▲ ', '': '' }[tone]
  return html`<span class="pill ${tone}">${sign}${text}</span>`
}

export function section(title: string, content: Html, leftOut = 0): Html {
  const more = leftOut === 0 ? null : html`<p class="soft">${many(leftOut)} more are left out.</p>`
  return html`<section aria-label="${title}"><h2>${title}</h2>${content}${more}</section>`
}

/** How long ago, and the time itself. */
function ago(iso: string | null, now: string, never = 'never'): Html {
  if (iso === null) return html`${never}`
  const seconds = secondsSince(iso, now)
  return html`<time datetime="${iso}" title="${clock(iso)}">${seconds < 1 ? 'now' : `${span(seconds)} ago`}</time>`
}

type Row = readonly [name: string, value: Html | string]

function facts(rows: readonly Row[]): Html {
  return html`<dl class="facts">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`
}

const mono = (text: string): Html => html`<span class="mono">${text}</span>`

const severityTones: Readonly<Record<FindingFacts['severity'], Tone>> = { error: 'bad', warning: 'warn', note: '' }

export function findings(found: readonly FindingFacts[], now: string): Html {
  if (found.length === 0) return html`<div class="findings"><div class="card calm"><h3>Nothing</h3><p class="soft">Every check passes.</p></div></div>`
  return html`<ul class="findings">${
    found.map(({ severity, subject, title, detail, since }) =>
      html`<li class="card ${severity}"><div class="head"><h3>${title} <span class="subject">— ${subject}</span></h3>${
        pill(severityTones[severity], severity)
      }</div><p>${detail}</p>${since === null ? null : html`<p class="soft">Since ${clock(since)}, ${ago(since, now)}</p>`}</li>`
    )
  }</ul>`
}

const workerTones: Readonly<Record<WorkerFacts['state'], Tone>> = { serving: 'good', starting: 'warn', silent: 'bad', ended: 'bad' }

export function workers(all: readonly WorkerFacts[], now: string): Html {
  return html`<ul class="grid">${
    all.map(({ number, state, startedAt, restarts, lastEnd, load }) =>
      html`<li class="card"><div class="head"><h3>Worker ${number}</h3>${pill(workerTones[state], state === 'ended' ? 'dead' : state)}</div>${
        facts([
          [state === 'ended' ? 'Was started' : 'Started', ago(startedAt, now)],
          ...load === null ? [] : [['Load', `${numbered(load.requestsInFlight, 'request')}, ${numbered(load.connections, 'connection')}`] as const],
          ['Restarts', String(restarts)],
          ...lastEnd === null ? [] : [['Last end', html`${lastEnd.signal ?? `exit code ${lastEnd.code ?? 'unknown'}`}, ${ago(lastEnd.at, now)}`] as const]
        ])
      }</li>`
    )
  }</ul>`
}

export function checks(all: readonly CheckFacts[], now: string): Html {
  return html`<ul class="card rows">${
    all.map(({ name, store, ok, since, code, reason, cause }) =>
      html`<li><div><strong>${name}</strong>${store === null ? null : html` <span class="soft">of store ${store}</span>`}${
        ok ? null : html`<p>${reason ?? ''} <span class="mono">${[code ?? '', ...causes(cause)].join(' ')}</span></p>`
      }<p class="soft">${ok ? 'Passes' : 'Fails'} since ${since === null ? 'the start' : ago(since, now)}</p></div>${
        pill(ok ? 'good' : 'bad', ok ? 'ok' : 'failing')
      }</li>`
    )
  }</ul>`
}

function causes(cause: CheckFacts['cause']): string[] {
  return Object.entries(cause).map(([name, value]) => `${name}=${value}`)
}

export function keys(all: readonly KeyFacts[], now: string): Html {
  return html`<ul class="grid">${
    all.map((key) =>
      html`<li class="card"><div class="head"><h3>${key.name}</h3>${
        key.ok === null ? pill('', 'not tried') : pill(key.ok ? 'good' : 'bad', key.ok ? 'ok' : 'failing')
      }</div>${
        facts([
          ['Id', key.keyId === null ? 'none that seals' : mono(key.keyId)],
          ['Kind', [key.type === 'local' ? 'keyring' : key.type, ...key.versions.length === 0 ? [] : [versionWords(key.versions)]].join(', ')],
          ...key.ok === false ? [['Reason', html`${key.reason ?? ''} ${mono([key.code ?? '', ...causes(key.cause)].join(' '))}`] as const] : [],
          ['State since', ago(key.since, now, 'not known')],
          ['Uses', `${many(key.uses)} since the last reload`],
          ['Last error', key.lastError === null ? 'none' : html`${mono(key.lastError.code)}, ${ago(key.lastError.at, now)}`],
          ['Backup', backupWords(key, now)]
        ])
      }</li>`
    )
  }</ul>`
}

function versionWords(versions: KeyFacts['versions']): string {
  const states = [...new Set(versions.map(({ state }) => state))]
  return states.map((state) => `${versions.filter((version) => version.state === state).length} ${state}`).join(', ')
}

function backupWords({ type, backup }: KeyFacts, now: string): Html | string {
  if (type !== 'local') return 'kept by the key service'
  if (backup === null) return 'never checked here'
  return html`checked ${ago(backup.at, now)}${backup.missing.length === 0 ? '' : `, lacks ${backup.missing.join(', ')}`}`
}

/** By what a state means: encrypted as the policy wants, readable by everybody, or to be looked at. */
const stateColours: Readonly<Record<string, Slice['colour']>> = { sealed: 'good', plaintext: 'bad', damaged: 'bad', 'store-file': 'soft', archived: 'soft' }

function scan({ bucket, ended, versions, states }: ScanFacts, now: string): Html {
  const found = Object.entries(states).filter(([state]) => state !== 'delete-marker')
  const all = found.reduce((sum, [, { objects }]) => sum + objects, 0)
  const slices = found.map(([name, { objects }]): Slice => ({ name, value: objects, colour: stateColours[name] ?? 'other' }))
  const covered = share(states['sealed']?.objects ?? 0, all)
  const words = found.map(([state, { objects, bytes: size }]) => `${many(objects)} ${state} (${bytes(size)})`).join(', ')
  return html`<li><div class="head"><span class="mono">${bucket}</span><span>${covered} sealed</span></div>${
    bar(`${bucket}: ${covered} sealed; ${words}`, slices)
  }<p class="soft">${words === '' ? 'no objects' : words}; ${versions ? 'all versions, ' : ''}scanned ${ago(ended, now)}</p></li>`
}

export function buckets(all: readonly BucketFacts[], scans: readonly ScanFacts[], now: string): Html {
  return html`<ul class="grid wide">${
    all.map(({ pattern, store, encryption, key, metadata, plaintext, publicRead }) => {
      const own = scans.filter((one) => one.pattern === pattern)
      return html`<li class="card"><div class="head"><h3 class="mono">${pattern}</h3>${
        encryption === 'on' ? pill('good', plaintext === 'allow' ? 'sealed, plaintext read' : 'sealed') : pill('', 'not sealed')
      }</div>${
        facts([
          ['Store', store],
          ...encryption === 'on' ? [['Key', key] as const, ['Metadata', metadata] as const] : [],
          ['Public', publicRead]
        ])
      }${
        own.length === 0
          ? html`<p class="soft scans">No scan of a bucket here is known. Run “sealgate scan”.</p>`
          : html`<ul class="scans">${own.map((one) => scan(one, now))}</ul>`
      }</li>`
    })
  }</ul>`
}

const operationWords = { put: 'Put', complete: 'Complete', copy: 'Copy', delete: 'Delete', copySourceIfMatch: 'Copy source' } as const

/** A row for each operation, a column for each kind of bucket. */
function conditions({ name: store, configured, capabilities: kinds }: StoreFacts): Html {
  const cell = ({ conditions: found }: CapabilityFacts, operation: string): Html => {
    const set = configured[operation]
    if (set !== undefined) return html`<td>set: ${set ? 'yes' : 'no'}</td>`
    const enforced = found?.[operation]
    return enforced === undefined ? html`<td class="soft">–</td>` : enforced ? html`<td class="good">✓ yes</td>` : html`<td class="bad">✕ no</td>`
  }
  const age = ({ failure, ageSeconds }: CapabilityFacts): string => failure !== null ? 'failed' : ageSeconds === null ? 'not yet' : `${span(ageSeconds)} ago`
  return html`<table><caption>Does ${store} enforce If-Match and If-None-Match?</caption><thead><tr><th scope="col">In buckets</th>${
    kinds.map(({ kind }) => html`<th scope="col">${kind}</th>`)
  }</tr></thead><tbody>${
    Object.entries(operationWords).map(([operation, word]) => html`<tr><th scope="row">${word}</th>${kinds.map((kind) => cell(kind, operation))}</tr>`)
  }<tr><th scope="row">Found out</th>${kinds.map((kind) => html`<td class="soft">${age(kind)}</td>`)}</tr></tbody></table>`
}

function clockWords(skew: number | null): string {
  if (skew === null) return 'not known'
  return Math.abs(skew) <= 1 ? 'the same as here' : `${span(Math.abs(skew))} ${skew > 0 ? 'behind' : 'ahead of'} this one`
}

export function stores(all: readonly StoreFacts[]): Html {
  return html`<ul class="grid wide">${
    all.map((store) =>
      html`<li class="card"><div class="head"><h3>${store.name}</h3>${pill(store.ready ? 'good' : 'bad', store.ready ? 'ready' : 'not ready')}</div>${
        facts([['Endpoint', mono(store.endpoint)], ['Region', store.region], ['Clock', clockWords(store.clockSkewSeconds)]])
      }${conditions(store)}</li>`
    )
  }</ul>`
}

export function integrity({ activity: { integrityFailures }, at }: Facts): Html {
  if (integrityFailures.length === 0) return html`<p class="soft">None since the start.</p>`
  return html`<ul class="card rows">${
    integrityFailures.toReversed().map((failure) =>
      html`<li><span>${clock(failure.at)} <span class="soft">${ago(failure.at, at)}</span></span><span class="mono">${failure.kind}</span></li>`
    )
  }</ul>`
}
