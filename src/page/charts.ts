import { html, type Html } from './html.ts'
import { share } from './words.ts'

/** Units of the drawing: it is stretched to the width of its place. */
const WIDTH = 600
const HEIGHT = 100
/** Room for the strokes at the edges. */
const TOP = 3

/** One line or one colour of bars: a value for each minute, the oldest first. null: there is none. */
export interface Series {
  readonly name: string
  /** Class of the colour: a, b or c. */
  readonly colour: 'a' | 'b' | 'c'
  readonly values: readonly (number | null)[]
}

interface Chart {
  readonly title: string
  /** The chart in one sentence, for who does not see it. */
  readonly summary: string
  readonly series: readonly Series[]
  readonly kind: 'bars' | 'lines'
  /** A value in words. */
  readonly words: (value: number) => string
}

/** A small chart of the last hour, with a legend that has the highest value of each series. */
export function chart({ title, summary, series, kind, words }: Chart): Html {
  const length = Math.max(...series.map(({ values }) => values.length))
  const columns = Array.from({ length }, (_, i) => series.map(({ values }) => values[i] ?? 0))
  const most = Math.max(0, ...columns.map((column) => kind === 'bars' ? column.reduce((sum, value) => sum + value, 0) : Math.max(...column)))
  const drawn = most === 0 ? [] : kind === 'bars' ? bars(series, columns, most) : series.map((one) => line(one, most))
  return html`<figure class="card chart"><figcaption><h3>${title}</h3><p>${summary}</p></figcaption>
<p class="scale">${most === 0 ? 'nothing' : words(most)}</p>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${title}: ${summary}">${
    [0.25, 0.5, 0.75].map((part) => html`<path class="grid" d="M0 ${HEIGHT * part}H${WIDTH}"/>`)
  }${drawn}<path class="axis" d="M0 ${HEIGHT - 0.5}H${WIDTH}"/></svg>
<p class="ends"><span>1 h ago</span><span>now</span></p>
<ul class="legend">${series.map(({ name, colour, values }) => legend(name, colour, Math.max(0, ...values.map((value) => value ?? 0)), words))}</ul></figure>`
}

function legend(name: string, colour: string, highest: number, words: Chart['words']): Html {
  return html`<li><svg class="key" viewBox="0 0 10 10" aria-hidden="true"><rect class="fill-${colour}" width="10" height="10" rx="2"/></svg>${name}<span class="soft">${
    highest === 0 ? 'none' : `up to ${words(highest)}`
  }</span></li>`
}

function bars(series: readonly Series[], columns: readonly (readonly number[])[], most: number): Html[] {
  const step = WIDTH / columns.length
  return columns.flatMap((column, x) => {
    let top = HEIGHT
    return column.flatMap((value, i) => {
      if (value === 0) return []
      // What happened once among thousands is still seen.
      const height = Math.max(2, value / most * (HEIGHT - TOP))
      top -= height
      return html`<rect class="fill-${series[i]?.colour ?? 'a'}" x="${(x * step + step * 0.1).toFixed(1)}" y="${Math.max(0, top).toFixed(1)}" width="${
        (step * 0.8).toFixed(1)
      }" height="${height.toFixed(1)}"/>`
    })
  })
}

/** Minutes without a value interrupt the line; one alone is a short stroke. */
function line({ colour, values }: Series, most: number): Html {
  const step = WIDTH / values.length
  const path = values.map((value, i) => {
    if (value === null) return ''
    const [x, y] = [((i + 0.5) * step).toFixed(1), (HEIGHT - value / most * (HEIGHT - TOP)).toFixed(1)]
    if ((values[i - 1] ?? null) !== null) return `L${x} ${y}`
    return (values[i + 1] ?? null) === null ? `M${(i * step).toFixed(1)} ${y}h${step}` : `M${x} ${y}`
  }).join('')
  return html`<path class="line stroke-${colour}" d="${path}"/>`
}

export interface Slice {
  readonly name: string
  readonly value: number
  readonly colour: 'good' | 'bad' | 'other' | 'soft' | 'none'
}

/** Parts of a whole side by side. */
export function bar(label: string, slices: readonly Slice[]): Html {
  const whole = slices.reduce((sum, { value }) => sum + value, 0)
  let x = 0
  const parts = slices.filter(({ value }) => value > 0).map(({ name, value, colour }) => {
    const width = whole === 0 ? 0 : value / whole * WIDTH
    const part = html`<rect class="fill-${colour}" x="${x.toFixed(2)}" width="${Math.max(2, width).toFixed(2)}" height="10"><title>${name} ${
      share(value, whole)
    }</title></rect>`
    x += width
    return part
  })
  return html`<svg class="bar" viewBox="0 0 ${WIDTH} 10" preserveAspectRatio="none" role="img" aria-label="${label}"><rect class="fill-none" width="${WIDTH}" height="10"/>${parts}</svg>`
}
