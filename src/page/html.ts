/** Markup that is complete: it goes into other markup as it is. */
export class Html {
  readonly #markup: string

  /** @param markup is trusted. Everything else uses `html`. */
  constructor(markup: string) {
    this.#markup = markup
  }

  toString(): string {
    return this.#markup
  }
}

type Value = string | number | Html | null | readonly (Html | null)[]

/**
 * The one place where HTML and SVG are made: every value is escaped, unless it was made here as well. null is nothing.
 * For element content and for attributes in double quotes; not for a style, a script or a URL.
 */
export function html(texts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(texts.reduce((markup, text, i) => markup + markupOf(values[i - 1] ?? null) + text))
}

function markupOf(value: Value): string {
  if (value === null) return ''
  if (value instanceof Html) return value.toString()
  return typeof value === 'object' ? value.map((one) => one?.toString() ?? '').join('') : escaped(String(value))
}

function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

/**
 * A text from outside with \uXXXX in place of what cannot be seen and changes what is read: control and format characters, among them those that
 * turn the direction of a text (Unicode, categories C, Zl and Zp).
 */
export function visible(text: string): string {
  return text.replace(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (character) => Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')
  )
}
