// To be imported before anything else: gives every test file a fast-check whose properties run many times the cases (test/campaigns/properties.ts).
import { registerHooks } from 'node:module'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'

const scaled = pathToFileURL(join(import.meta.dirname, 'scaled-fast-check.ts')).href

registerHooks({
  resolve: (specifier, context, next) => next(specifier === 'fast-check' && context.parentURL !== scaled ? scaled : specifier, context)
})
