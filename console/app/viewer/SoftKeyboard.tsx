import { ActionIcon } from '@mantine/core';
import { type RefObject, useRef } from 'react';
import { KeyboardIcon } from '../ui/icons';
import type { Screen } from './Screen';
import classes from './SoftKeyboard.module.css';
import { backspace, keysymOf } from './keys';
import { FILLER, typedDifference } from './typing';

/** Brings up the on-screen keyboard of a touch device, and types what it enters into the workspace. */
export function SoftKeyboard({ screen, className }: { screen: RefObject<Screen | null>; className?: string }) {
  const field = useRef<HTMLTextAreaElement>(null);
  const before = useRef(FILLER);

  const restore = () => {
    if (!field.current) return;
    field.current.value = FILLER;
    field.current.setSelectionRange(FILLER.length, FILLER.length);
    before.current = FILLER;
  };
  const type = (composing: boolean) => {
    const after = field.current?.value ?? '';
    const { backspaces, text } = typedDifference(before.current, after);
    before.current = after;
    for (let count = 0; count < backspaces; count += 1) screen.current?.press([backspace]);
    for (const character of text) screen.current?.type(keysymOf(character));
    if (!composing && (after.length < 10 || after.length > 400)) restore();
  };

  return (
    <>
      <ActionIcon
        className={className ?? ''}
        variant="subtle"
        color="gray"
        size="md"
        aria-label="Keyboard"
        title="On-screen keyboard"
        onClick={() => {
          restore();
          field.current?.focus();
        }}
      >
        <KeyboardIcon />
      </ActionIcon>
      <textarea
        ref={field}
        className={classes.field}
        aria-label="Typed into the workspace"
        tabIndex={-1}
        autoCapitalize="off"
        autoComplete="off"
        autoCorrect="off"
        spellCheck={false}
        defaultValue={FILLER}
        onInput={(event) => type((event.nativeEvent).isComposing)}
      />
    </>
  );
}
