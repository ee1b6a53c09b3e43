import { Button, Fieldset, Group, Stack, Text } from '@mantine/core';
import { type SubmitEvent, useState } from 'react';
import { asProblem } from '../../../api/problem';
import type { ZonePatch } from '../../../api/types';
import { ProblemNote } from '../../../ui/ProblemNote';
import { useDraft } from '../useDraft';
import { ZoneField } from './ZoneField';
import { check } from './rules';
import { type Field, type ZoneForm, parts, patchOf } from './settings';

interface Props {
  /** What is now. It may change while somebody types: what they did not touch follows. */
  before: ZoneForm;
  zones: string[];
  disabled: boolean;
  action: string;
  /** What the server had against the last try. */
  error: unknown;
  pending: boolean;
  onSend: (patch: ZonePatch, onDone: () => void) => void;
  /** A new zone is sent also where nothing but its name was said. */
  fresh?: boolean;
}

/** All settings of a zone, judged while they are typed. */
export function SettingsForm({ before, zones, disabled, action, error, pending, onSend, fresh = false }: Props) {
  const { form, draft, set, saved, undo } = useDraft(before);
  /** What was touched since the server last judged: its word stands only until then. */
  const [touched, setTouched] = useState<Field[]>([]);
  const patch = patchOf(form, before);
  const wrong = check(form, zones);
  const problem = error ? asProblem(error) : null;
  const isTouched = (field: Field) => field in draft;
  const errorOf = (field: Field): string | null => {
    const said = touched.includes(field) ? null : (problem?.at(field) ?? null);
    // A field that nobody has touched is not complained about, unless it contradicts one that was.
    const shown = isTouched(field) || (!fresh && wrong[field] !== undefined);
    return said ?? (shown ? (wrong[field] ?? null) : null);
  };
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    setTouched([]);
    onSend(patch, saved);
  };
  const shownAtField = problem?.details.fields.some(({ field }) => field in before) ?? false;
  const nothingNew = Object.keys(patch).length === 0;
  return (
    <form onSubmit={submit} noValidate aria-label="Settings">
      <Stack gap="md">
        {parts.map((part) => (
          <Fieldset key={part.title} legend={part.title} disabled={disabled}>
            <Stack gap="md">
              {part.settings.map(({ field, meaning }) => (
                <ZoneField
                  key={field}
                  field={field}
                  meaning={meaning}
                  form={form}
                  error={errorOf(field)}
                  onChange={(change) => {
                    set(change);
                    setTouched([...touched, field]);
                  }}
                />
              ))}
            </Stack>
          </Fieldset>
        ))}
        {problem && !shownAtField && <ProblemNote error={problem} />}
        {!disabled && (
          <Group justify="flex-end">
            {!nothingNew && !fresh && (
              <>
                <Text size="sm" c="dimmed" flex={1} role="status">
                  Changed: {Object.keys(patch).join(', ')}
                </Text>
                <Button variant="default" onClick={undo}>
                  Undo
                </Button>
              </>
            )}
            <Button type="submit" loading={pending} disabled={nothingNew || Object.keys(wrong).length > 0}>
              {action}
            </Button>
          </Group>
        )}
      </Stack>
    </form>
  );
}
