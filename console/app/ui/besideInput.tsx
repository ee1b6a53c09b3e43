import { Box, Group } from '@mantine/core';
import type { ReactNode } from 'react';

/** Puts a button on the line of an input: what is wrong with the field is said beneath both. For an input's `inputContainer`. */
export function besideInput(button: ReactNode): (input: ReactNode) => ReactNode {
  return (input) => (
    <Group gap="sm" wrap="nowrap" align="start">
      <Box flex={1}>{input}</Box>
      {button}
    </Group>
  );
}
