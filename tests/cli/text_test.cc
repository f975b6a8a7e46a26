#include "kahuna/cli/text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "kahuna/cli/json.h"
#include "kahuna/cli/log.h"

namespace kahuna::cli {
namespace {

TEST(Text, EscapesJson) {
  EXPECT_EQ(json_string("a\"b\\c\nd\x01"), "\"a\\\"b\\\\c\\nd\\u0001\"");
  EXPECT_EQ(json_string("aloha \xe2\x80\xa6"), "\"aloha \xe2\x80\xa6\"");
  EXPECT_EQ(json_string("\xff"), "\"\xef\xbf\xbd\"");
}

TEST(Text, TellsUtf8FromOtherBytes) {
  EXPECT_TRUE(is_utf8("\xf0\x9f\x8c\xba"));
  EXPECT_FALSE(is_utf8("\xc0\x80")) << "overlong";
  EXPECT_FALSE(is_utf8("\xed\xa0\x80")) << "surrogate";
  EXPECT_FALSE(is_utf8("\xe2\x80")) << "cut short";
}

TEST(Text, BytesThatAreNoTextBecomeBase64) {
  EXPECT_EQ(json_bytes("value", "x"), "\"value\":\"x\"");
  EXPECT_EQ(json_bytes("value", std::string("\xff\x00", 2)), "\"value_base64\":\"/wA=\"");
  EXPECT_EQ(base64("any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
}

TEST(Text, GuessesTheNearestWord) {
  const std::vector<std::string> keys = {"listen", "founders", "data"};
  EXPECT_EQ(nearest("lisen", keys), "listen");
  EXPECT_EQ(nearest("founder", keys), "founders");
  EXPECT_EQ(nearest("zzzzzzzz", keys), "");
}

TEST(Text, AlignsColumns) {
  EXPECT_EQ(table({{"A", "B"}, {"long", "x"}}), "A     B\nlong  x\n");
}

TEST(Text, ShortensDurations) {
  EXPECT_EQ(short_duration(Duration::nanos(850)), "850ns");
  EXPECT_EQ(short_duration(Duration::micros(12)), "12us");
  EXPECT_EQ(short_duration(Duration::micros(4560)), "4.56ms");
  EXPECT_EQ(short_duration(Duration::millis(1500)), "1.5s");
}

RC_GTEST_PROP(Json, ReadsBackWhatWasWritten, (std::string text)) {
  for (char& c : text) c &= 0x7f;
  text += "\xf0\x9f\x8c\xba";
  const Result<Json> value = parse_json("{\"k\": [" + json_string(text) + ", -1.5e3, true, null]}");
  RC_ASSERT(value.has_value());
  RC_ASSERT((*value)["k"].items[0].text == text);
  RC_ASSERT((*value)["k"].items[1].text == "-1.5e3");
  RC_ASSERT((*value)["k"].items[2].is_true());
  RC_ASSERT((*value)["none"].kind == Json::Kind::kNull);
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const char* text :
       {"", "{", "[1,]", "{\"a\"}", "\"", "\"\\x\"", "1 2", "nul", "\"\\u12g4\""}) {
    EXPECT_FALSE(parse_json(text).has_value()) << text;
  }
  EXPECT_FALSE(parse_json(std::string(1000, '[')).has_value()) << "too deep";
}

TEST(Log, QuotesWhatIsNotPlain) {
  EXPECT_EQ(log_line(WallTime::from_nanos(1'500'000'000), Level::kInfo, "serving",
                     {{"name", "n1"}, {"text", "two words"}, {"empty", ""}}),
            "time=1970-01-01T00:00:01.500Z level=info event=serving name=n1 text=\"two words\" "
            "empty=\"\"");
}

}  // namespace
}  // namespace kahuna::cli
